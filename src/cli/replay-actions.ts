/** What `forebay replay` does once its command line is understood. */
import {
  beganAtOf,
  createReplay,
  historiesOf,
  keyFilterOf,
  openCheck,
  openProgress,
  openReplay,
  openSink,
  readReplay,
  sampleWrite,
  tableLike,
} from '../connect/replay.ts'
import type { ReplayBase, TaskTable } from '../connect/replay.ts'
import { ForebayError } from '../errors.ts'
import { Parts } from '../node/parts.ts'
import { dryRun } from '../replay/dry-run.ts'
import type { Findings } from '../replay/findings.ts'
import type { Progress } from '../replay/progress.ts'
import { runReplay } from '../replay/replay-run.ts'
import { offsetCount, resolveRanges, sinceBeginning } from '../replay/replay-range.ts'
import type { ReplayRange } from '../replay/replay-range.ts'
import type { ReplayRecord } from '../replay/replay-store.ts'
import { verifyMerged } from '../replay/verify-merged.ts'
import { verifyPlain } from '../replay/verify-plain.ts'
import { paint } from '../text/paint.ts'
import { ReplayBar } from './replay-bar.ts'
import { specOf } from './replay-request.ts'
import type { ReplayRequest } from './replay-request.ts'
import { dryRunText, durationWords, findingsJson, findingsText, rangeJson, rangeText } from './replay-text.ts'
import type { Target } from './target.ts'
import { tableOf } from '../sinks/traits.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

export interface ReplayContext {
  readonly target: Target
  readonly isJson: boolean
  readonly showMax: number
  readonly signal: AbortSignal
}

/** Sentences of jobs that a table would not take, at most. */
const refusedShownMax = 10

/** Begins a replay into another table and runs it. */
export async function replayInto(context: ReplayContext, request: ReplayRequest): Promise<void> {
  await using parts = new Parts()
  const base = await open(context, parts)
  const ranges = await resolve(context, base, request)
  const [task] = request.tasks
  const table = tableLike(task!, request.into)
  const { pipeline, fileHash } = context.target
  const id = await createReplay(base, table, tableLike(task!, undefined), {
    pipeline: pipeline.name,
    task: table.task,
    target: table.definition.table,
    version: pipeline.version,
    fileHash,
    spec: specOf(request),
    ranges,
  })
  await run(context, base, (await readReplay(base, id))!, table, parts)
}

/** Goes on with replay `id`. Throws FB_USAGE when there is none, FB_FINGERPRINT when the converters are others now. */
export async function resumeReplay(context: ReplayContext, id: number): Promise<void> {
  await using parts = new Parts()
  const base = await open(context, parts)
  const { pipeline, tasks, fileHash } = context.target
  const record = await readReplay(base, id)
  if (record === undefined) throw new ForebayError('FB_USAGE', `pipeline ${pipeline.name} has no replay ${id}; see forebay replay list`)
  if (record.version !== pipeline.version)
    throw new ForebayError(
      'FB_FINGERPRINT',
      `replay ${id} was begun with version ${record.version} of pipeline ${pipeline.name}, this is version ${pipeline.version}: jobs of both would mix; begin anew into another table`,
    )
  if (record.fileHash !== null && record.fileHash !== fileHash)
    warn(
      `the file of pipeline ${pipeline.name} changed since replay ${id} was begun: if its conversion changed, jobs of both mix; begin anew then`,
    )
  const task = tasks.find(({ name }) => name === record.task)
  if (task === undefined)
    throw new ForebayError('FB_USAGE', `replay ${id} is of task ${record.task}, which pipeline ${pipeline.name} no longer has`)
  await run(context, base, record, tableLike(task, record.target), parts)
}

async function run(context: ReplayContext, base: ReplayBase, found: ReplayRecord, table: TaskTable, parts: Parts): Promise<void> {
  const { isJson, signal } = context
  const store = await openProgress(base, found.id, parts)
  // Only now nobody else moves it.
  const record = (await readReplay(base, found.id)) ?? found
  const sink = await openSink(base, table)
  if (!isJson && record.state !== 'done')
    say(`replay ${record.id} of task ${record.task} into ${record.target}; if it stops: forebay replay --resume ${record.id}`)
  const startedMs = base.clock.now()
  let refusedShown = 0
  using bar = new ReplayBar({ isQuiet: isJson })
  const totals = await runReplay(
    { log: base.log, clock: base.clock, store, sink, converter: base.converter },
    {
      replay: record.id,
      task: record.task,
      tasks: base.tasks.map(({ name }) => name),
      target: record.target,
      partitions: record.partitions,
      filter: record.spec.key === null ? undefined : keyFilterOf(base, record.spec.key),
      speed: record.spec.speed ?? undefined,
      onRefused: (sentence) => {
        if (refusedShown++ < refusedShownMax) warn(sentence)
      },
      onProgress: (progress) => bar.show(progress),
    },
    signal,
  )
  bar[Symbol.dispose]()
  const tookMs = base.clock.now() - startedMs
  const { id, task, target } = record
  const { events, rows, letters: deadLetters, refused } = totals
  if (isJson)
    return print({ replay: id, task, into: target, state: 'done', events, rows, deadLetters, refused, tookMs: Math.round(tookMs) })
  const dead = deadLetters + refused === 0 ? '' : `; ${deadLetters} could not be converted, ${refused} not be written`
  process.stdout.write(`replay ${id} is done: ${events} events, ${rows} rows in ${target}, ${durationWords(tookMs)}${dead}\n`)
}

export async function dryRunReplay(context: ReplayContext, request: ReplayRequest): Promise<void> {
  await using parts = new Parts()
  const base = await open(context, parts)
  const ranges = await resolve(context, base, request)
  const tables = new Map(request.tasks.map((task) => [task.name, tableLike(task, undefined)]))
  using bar = new ReplayBar({ isQuiet: context.isJson })
  const result = await dryRun(
    base,
    {
      ranges,
      tasks: base.tasks.map(({ name }) => name),
      chosen: [...tables.keys()],
      filter: request.key === undefined ? undefined : keyFilterOf(base, request.key),
      speed: request.speed,
      sample: (task, jobs) => sampleWrite(base, tables.get(task)!, jobs),
      onProgress: (progress) => bar.show(progress),
    },
    context.signal,
  )
  bar[Symbol.dispose]()
  if (context.isJson) print({ ranges: ranges.map(rangeJson), ...result })
  else process.stdout.write(dryRunText(result))
}

/** Compares, and mends when asked to. Throws FB_TABLE_DIFFERS when something is left that differs. */
export async function verifyTables(context: ReplayContext, request: ReplayRequest): Promise<void> {
  const isRepair = request.mode === 'repair'
  const tasks = isRepair ? mendable(request) : request.tasks
  await using parts = new Parts()
  const base = await open(context, parts)
  if (isRepair) checkVersion(base)
  const ranges = await resolve(context, base, request)
  const all: Findings[] = []
  const advice: string[] = []
  for (const task of tasks) {
    const findings = await verifyTable(context, request, base, { ranges, table: tableLike(task, request.into) }, parts)
    all.push(findings)
    if (!findings.isRight) advice.push(isMergedTask(task) ? mergedAdviceOf(findings, request.into) : adviceOf(findings, isRepair))
  }
  if (context.isJson) print({ ranges: ranges.map(rangeJson), tables: all.map(findingsJson) })
  else process.stdout.write(printable(all.map(findingsText).join('')))
  if (advice.length > 0) throw new ForebayError('FB_TABLE_DIFFERS', advice.join('\n'))
}

async function verifyTable(
  { showMax, isJson, signal }: ReplayContext,
  { mode, key, into }: ReplayRequest,
  base: ReplayBase,
  { ranges: whole, table }: { ranges: readonly ReplayRange[]; table: TaskTable },
  parts: Parts,
): Promise<Findings> {
  const isRepair = mode === 'repair'
  const beganAt = into === undefined ? beganAtOf(base, table) : undefined
  const ranges = whole.map((range) => sinceBeginning(range, beganAt?.get(range.partition)))
  const { session, ledger, check } = await openCheck(base, table, { isRepair, isOfKey: key !== undefined }, parts)
  using bar = new ReplayBar({ isQuiet: isJson })
  const ports = { log: base.log, clock: base.clock, session, ledger, converter: base.converter }
  const verifyRun = {
    task: table.task,
    tasks: base.tasks.map(({ name }) => name),
    ranges,
    filter: key === undefined ? undefined : keyFilterOf(base, key),
    listMax: showMax,
    onProgress: (progress: Progress) => bar.show(progress),
  }
  const histories = into === undefined && check.kind === 'merged' ? await historiesOf(base, table) : undefined
  const findings =
    check.kind === 'plain'
      ? await verifyPlain(ports, check.of, { ...verifyRun, isRepair }, signal)
      : await verifyMerged(ports, check.of, { ...verifyRun, histories }, signal)
  noteBeginning(findings, whole, ranges)
  if (findings.different > 0 && base.state.versions.length > 1)
    findings.note(
      `the pipeline ran as versions ${base.state.versions.toReversed().join(', ')}: rows of an earlier one may differ for that alone`,
    )
  return findings
}

function isMergedTask(task: ReplayRequest['tasks'][number]): boolean {
  return (tableOf(task)?.upsertOn ?? []).length > 0
}

/** A merged row does not tell which part of it is missing. */
function mendable({ tasks, isTaskNamed, into }: ReplayRequest): ReplayRequest['tasks'] {
  const merged = tasks.filter(isMergedTask)
  const plain = tasks.filter((task) => !isMergedTask(task))
  const sentence = merged
    .map((task) => `task ${task.name} merges rows: nobody can tell which part of one is missing; ${rebuildText(task.name, into)}`)
    .join('\n')
  if (plain.length === 0 || (isTaskNamed && merged.length > 0)) throw new ForebayError('FB_USAGE', sentence)
  if (merged.length > 0) warn(sentence)
  return plain
}

function rebuildText(task: string, into?: string): string {
  if (into !== undefined) return 'write it anew, into another table'
  return `build the table anew: forebay replay --from earliest --task ${task} --into NEW_TABLE makes it beside the live one, up to the floor; forebay reset --to earliest --truncate TABLE starts the whole pipeline again, so every other table has to be emptied too (or take its rows twice, with --allow-duplicates)`
}

function mergedAdviceOf({ task, table, missing, extra, different }: Findings, into?: string): string {
  return `table ${table} of task ${task}: ${missing} keys are missing, ${extra} are there that no event calls for, ${different} differ; delete none of them, for events to come would begin their sums anew: ${rebuildText(task, into)}`
}

function adviceOf({ task, table, missing, mended, extra, different }: Findings, isRepair: boolean): string {
  const parts: string[] = []
  if (missing > mended)
    parts.push(isRepair ? `${missing - mended} missing rows could not be written` : `${missing} rows are missing (--repair writes them)`)
  if (extra > 0) parts.push(`${extra} rows are there that no event calls for (delete them if they are wrong)`)
  if (different > 0) parts.push(`${different} rows differ (delete them and run --repair, if the event log is right)`)
  return `table ${table} of task ${task}: ${parts.join('; ')}`
}

function noteBeginning(findings: Findings, whole: readonly ReplayRange[], ranges: readonly ReplayRange[]): void {
  const cut = ranges.filter((range, i) => range.firstOffset > whole[i]!.firstOffset && offsetCount(whole[i]!) > 0)
  if (cut.length === 0) return
  const where = cut.map(({ partition, firstOffset }) => `partition ${partition} at offset ${firstOffset}`).join(', ')
  findings.note(`its rows begin, since the task's first start or a reset, in ${where}: what lies below is not compared`)
}

function checkVersion({ state, pipeline }: ReplayBase): void {
  if (state.version === pipeline.version) return
  throw new ForebayError(
    'FB_FINGERPRINT',
    `pipeline ${pipeline.name} runs as version ${state.version}, this is version ${pipeline.version}: rows of both would mix; repair with the version that runs`,
  )
}

async function open({ target }: ReplayContext, parts: Parts): Promise<ReplayBase> {
  const base = await openReplay(target.settings, target.pipeline, { parts, warn })
  if (base.state.version !== target.pipeline.version)
    warn(
      `pipeline ${target.pipeline.name} runs as version ${base.state.version}, this is version ${target.pipeline.version}: its rows may differ for that alone`,
    )
  return base
}

/** Says on standard error what is covered. */
async function resolve({ isJson }: ReplayContext, { log, state }: ReplayBase, request: ReplayRequest): Promise<ReplayRange[]> {
  const ranges = await resolveRanges(log, state.floors, request)
  if (!isJson) for (const range of ranges) process.stderr.write(rangeText(range))
  return ranges
}

function print(value: unknown): void {
  process.stdout.write(`${jsonText(value)}\n`)
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
}

function warn(sentence: string): void {
  process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${sentence}\n`)
}
