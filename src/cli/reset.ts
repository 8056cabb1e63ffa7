import { isSame } from '../epochs/task-set.ts'
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { ForebayError, sentenceOf } from '../errors.ts'
import type { EventLog, LogIdentity } from '../events/event-log.ts'
import type { Database } from '../database/database.ts'
import { fingerprintOf } from '../config/fingerprint-of.ts'
import { cutWhenDrained } from '../epochs/drained-cut.ts'
import { parseResetPoint, planReset } from '../epochs/reset-plan.ts'
import type { PartitionReset, PartitionState, ResetPlan, ResetPoint } from '../epochs/reset-plan.ts'
import { checkRouting, performReset } from '../epochs/reset.ts'
import type { Reset, ResetEpoch } from '../epochs/reset.ts'
import { readRoutingPlan } from '../epochs/routing-cut.ts'
import type { RoutingPlan } from '../epochs/routing-cut.ts'
import { checkSameLog } from '../epochs/same-log.ts'
import { parseDuration } from '../text/units.ts'
import { SystemClock } from '../schedule/clock.ts'
import { livingNodes, reasonsOf, requester, stopOnSignal, tellOnce } from './operator.ts'
import { paint } from '../text/paint.ts'
import { openTarget, withTarget } from './target.ts'
import type { Target, TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

interface ResetOptions extends TargetOptions {
  readonly to: string
  readonly partition?: string
  readonly truncate: readonly string[]
  readonly allowDuplicates?: boolean
  readonly skipLost?: boolean
  readonly drain?: boolean
  readonly timeout: string
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

/** To delete the dead letters of a long range, or to wait for the tables' indices, takes minutes, not seconds. */
const resetStatementMs = 600_000

const examples = `
Examples:
  forebay reset --to earliest --truncate trades --truncate candles --dry-run
  forebay reset --to earliest --truncate trades --truncate candles --yes
  forebay reset --to 2026-01-31T09:30:00Z --allow-duplicates
  forebay reset --to 1200 --partition 0 --allow-duplicates
  forebay reset --partition 2 --to earliest --skip-lost     retention has passed this floor: go on with what the log still has

Stop the nodes first, or say --drain: running nodes then drain, and go on from the point by themselves. It is one transaction:
killed at any moment it has happened wholly or not at all, and it may be run again. It only goes back; events between a floor
and a later point are never skipped, but --skip-lost gives up what the log no longer holds. What lies above the point is made
again, with new job ids. The exit code is 64 when something is not said in words, 75 when nodes do not drain or floors moved.`

/** Adds `forebay reset`. */
export function addReset(program: Command): void {
  withTarget(program.command('reset'))
    .description('restart a stopped or drained pipeline from an earlier point')
    .requiredOption('--to <point>', 'earliest, an offset (with --partition), or a time with its zone')
    .option('--partition <number>', 'only this partition')
    .option('--truncate <table>', 'empty this table of the pipeline; may be given again', collect, [])
    .option('--allow-duplicates', 'let plain inserts put their rows in a second time')
    .option('--skip-lost', 'give up events that the log no longer holds')
    .option('--drain', 'ask running nodes to drain first')
    .option('--timeout <duration>', 'how long they may take (--drain)', '2m')
    .option('--dry-run', 'only show what would be done')
    .option('--yes', 'do not ask')
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action(reset)
}

async function reset(options: ResetOptions): Promise<void> {
  const point = parseResetPoint(options.to)
  const partition = options.partition === undefined ? undefined : wholeNumber(options.partition)
  const timeout = parseDuration(options.timeout)
  if ('problem' in timeout) throw new ForebayError('FB_USAGE', `--timeout ${options.timeout}: ${timeout.problem}`)
  const target = await openTarget(options)
  const { openDatabase, openEventLog } = await import('../connect/servers.ts')
  await using database = openDatabase(target.settings)
  await using log = openEventLog(target.settings, target.pipeline)
  const identity = await log.identity()
  const found = await readPlan(target, database)
  const warn = (sentence: string) => void process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${sentence}\n`)
  await checkSameLog({ log, database, warn }, { pipeline: target.pipeline.name, topic: target.pipeline.source.topic })
  checkRouting({ epoch: found.epoch, fingerprint: found.active }, { pipeline: target.pipeline.name, fingerprint: found.configured })
  const wish = {
    point,
    partition,
    truncate: options.truncate,
    allowsDuplicates: options.allowDuplicates === true,
    skipsLost: options.skipLost === true,
  }
  const plan = planReset(wish, await statesOf(log, identity, found, point), target.tasks)
  if (options.dryRun !== true) await refuseRunning(target, database, found, options)
  if (options.json !== true || options.yes !== true) process.stderr.write(planText(target, plan, options))
  if (options.dryRun === true) return print(target, plan, options, undefined)
  await confirm(target, options)
  await using patient = openDatabase(target.settings, resetStatementMs)
  const epoch = await perform({ target, database: patient, identity, plan, found, timeoutMs: timeout.value }, options.drain === true)
  await commitFloors(log, epoch.partitions)
  print(target, { ...plan, partitions: epoch.partitions }, options, epoch)
}

function collect(table: string, before: readonly string[]): string[] {
  return [...before, table]
}

function wholeNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new ForebayError('FB_USAGE', `--partition takes a whole number, not ${text}`)
}

function readPlan({ settings, pipeline }: Target, database: Database): Promise<RoutingPlan> {
  const fingerprint = fingerprintOf(settings, pipeline)
  return database.use('reading the ledger', (client) => readRoutingPlan(client, pipeline.name, fingerprint))
}

/** Every partition of the topic, those too that the ledger does not know yet. */
async function statesOf(log: EventLog, { partitions }: LogIdentity, found: RoutingPlan, point: ResetPoint): Promise<PartitionState[]> {
  const states: PartitionState[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const { floor, appliedTo } = found.partitions.find((row) => row.partition === partition) ?? { floor: -1n, appliedTo: -1n }
    const range = await log.range(partition)
    states.push({ partition, floor, appliedTo, range, nextOffset: await nextOffsetOf(log, partition, range.startOffset, point) })
  }
  return states
}

async function nextOffsetOf(log: EventLog, partition: number, startOffset: bigint, point: ResetPoint): Promise<bigint> {
  if (point.kind === 'earliest') return startOffset
  return point.kind === 'offset' ? point.offset : log.offsetAt(partition, point.timeMs)
}

async function refuseRunning(
  { pipeline }: Target,
  database: Database,
  { active, configured, running }: RoutingPlan,
  { drain = false }: ResetOptions,
): Promise<void> {
  if (drain && (running.length === 0 || isSame(active, configured))) return
  if (drain) {
    // The next epoch would be the configuration's, which the nodes that run cannot join: they would all end.
    const text = ({ version, tasks }: typeof active) => `version ${version} with tasks ${tasks.join(', ')}`
    throw new ForebayError(
      'FB_USAGE',
      `Pipeline "${pipeline.name}" runs with ${text(active)} on ${running.map(({ node }) => node).join(', ')}, the configuration has ${text(configured)}: reset with what runs, or stop the nodes first.`,
    )
  }
  const living = await livingNodes(database, pipeline.name)
  const names = living.filter(({ epoch }) => epoch !== null).map(({ node }) => node)
  if (names.length === 0) return
  throw new ForebayError(
    'FB_USAGE',
    `Pipeline "${pipeline.name}" runs on ${names.join(', ')}: stop ${names.length === 1 ? 'it' : 'them'} first, or say --drain to have ${names.length === 1 ? 'it' : 'them'} drain and go on from the point.`,
  )
}

async function confirm({ pipeline }: Target, { yes = false }: ResetOptions): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY) throw new ForebayError('FB_USAGE', 'Nothing was done: say --yes to do it, since there is no terminal to ask.')
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await asking.question(`Type the name of the pipeline to go on: `)
  asking.close()
  if (answer.trim() !== pipeline.name) throw new ForebayError('FB_USAGE', 'Nothing was done: the answer is not the name of the pipeline.')
}

interface Performance {
  readonly target: Target
  readonly database: Database
  readonly identity: LogIdentity
  readonly plan: ResetPlan
  readonly found: RoutingPlan
  readonly timeoutMs: number
}

async function perform({ target, database, identity, plan, found, timeoutMs }: Performance, isDrained: boolean): Promise<ResetEpoch> {
  const { pipeline, fileHash } = target
  const { partitions, truncations } = plan
  const whole: Reset = {
    pipeline: pipeline.name,
    topic: pipeline.source.topic,
    identity,
    fingerprint: found.configured,
    fileHash,
    partitions,
    truncations,
  }
  if (!isDrained) return database.use('resetting', (client) => performReset(client, whole))
  using stopping = stopOnSignal()
  return await cutWhenDrained({
    database,
    clock: new SystemClock(),
    pipeline: pipeline.name,
    epoch: found.epoch,
    purpose: 'a reset',
    requestedBy: requester(),
    timeoutMs,
    signal: stopping.signal,
    onWaiting: tellOnce(),
    reasons: () => reasonsOf(found.running, target.settings.node),
    attempt: (client, drainRequest) => performReset(client, { ...whole, drainRequest }),
  })
}

/** Lag tools see where the pipeline stands now; the nodes repeat it, so a failure is only told. */
async function commitFloors(log: EventLog, partitions: readonly PartitionReset[]): Promise<void> {
  try {
    await log.commit(new Map(partitions.map(({ partition, cut }) => [partition, cut])))
  } catch (error) {
    process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} lag tools show the old place for a while: ${sentenceOf(error)}\n`)
  }
}

function planText({ pipeline }: Target, { partitions, truncations, warnings }: ResetPlan, { to }: ResetOptions): string {
  return [
    `reset pipeline ${pipeline.name} to ${to}`,
    ...partitions.map(partitionText),
    ...(truncations.length > 0 ? [`  empties ${printable(truncations.join(', '))}`] : []),
    ...warnings.map((warning) => `  ${paint(process.stderr, 'yellow', 'note:')} ${warning}`),
    '',
  ].join('\n')
}

function partitionText({ partition, floor, cut, change }: PartitionReset): string {
  if (change === 'kept') return `  partition ${partition}: goes on from its floor ${floor}`
  if (change === 'ahead') return `  partition ${partition}: floor ${floor} goes ahead to ${cut}`
  return `  partition ${partition}: floor ${floor} goes back to ${cut}, what lies above is made again`
}

function print({ pipeline }: Target, plan: ResetPlan, { json = false, dryRun = false }: ResetOptions, epoch: ResetEpoch | undefined): void {
  const value = {
    pipeline: pipeline.name,
    isDryRun: dryRun,
    isDone: epoch !== undefined,
    epoch: epoch?.epoch ?? null,
    reset: epoch?.reset ?? null,
    partitions: plan.partitions.map(({ partition, floor, cut, change }) => ({ partition, floor: String(floor), cut: String(cut), change })),
    truncated: plan.truncations,
    warnings: plan.warnings,
  }
  const text =
    epoch === undefined ? 'nothing was done (--dry-run)' : `done: epoch ${epoch.epoch}, reset ${epoch.reset}; nodes go on from the point`
  process.stdout.write(json ? `${jsonText(value)}\n` : `${printable(text)}\n`)
}
