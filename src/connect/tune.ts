/**
 * What `forebay tune` connects to. It reads the live topic and its tables' definitions; whatever it writes is in a schema and in rings of its
 * own, which are removed when it ends.
 */
import { linesBytesMaxOf } from '../ingest/converting.ts'
import { randomBytes } from 'node:crypto'
import { openEventLog, openGrid } from './servers.ts'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { EventLog, LogIdentity } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { LocalJobGrid } from '../grid/local-job-grid.ts'
import { JobLines } from '../grid/segment.ts'
import { Converter } from '../ingest/converter.ts'
import type { ConvertingTask } from '../ingest/converter.ts'
import { fingerprintOf, trackedTasks } from '../config/fingerprint-of.ts'
import { Parts } from '../node/parts.ts'
import type { NodeSettings } from '../config/settings.ts'
import { silent } from '../observer.ts'
import { openPostgresLedger } from '../ledger/postgres-ledger.ts'
import type { PostgresLedger } from '../ledger/postgres-ledger.ts'
import { PostgresScratch } from '../replay/postgres-scratch.ts'
import { PostgresTransaction } from '../ledger/postgres-transaction.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import { SystemClock } from '../schedule/clock.ts'
import type { Clock } from '../schedule/clock.ts'
import { encodeOf } from '../sinks/job-encoder.ts'
import { openPostgresTable } from '../sinks/postgres-table/open-postgres-table.ts'
import { runningSink } from '../sinks/running-sink.ts'
import type { RunningSink, TransactionalSink } from '../sinks/running-sink.ts'
import { planTable, quotedTable } from '../sinks/postgres-table/table-plan.ts'
import type { JobSample } from '../tune/measure-events.ts'
import type { FlushProbe } from '../tune/measure-flushes.ts'
import type { GridProbe } from '../tune/measure-grid.ts'
import { writeIsolating } from '../work/isolate.ts'

export interface ScratchTask {
  readonly definition: TaskDefinition
  readonly isTracked: boolean
  /** Writes to a scratch table, or to nobody. */
  readonly sink: RunningSink
}

export interface TuneBase {
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  readonly clock: Clock
  readonly log: EventLog
  readonly identity: LogIdentity
  readonly grid: GridProbe
  readonly scratch: PostgresScratch
  /** In the order of the pipeline. */
  readonly tasks: readonly ScratchTask[]
  readonly converter: Converter
  /** Told what could not be removed. */
  readonly warn: (sentence: string) => void
}

const databaseConnectMs = 5000
const statementMs = 60_000

/** Throws what the servers throw, each with a sentence that names it: FB_DATABASE_UNREACHABLE, FB_EVENT_LOG_UNREACHABLE, FB_GRID_UNREACHABLE, FB_CATALOGUE. */
export async function openTune(
  settings: NodeSettings,
  pipeline: Pipeline,
  tasks: readonly TaskDefinition[],
  { parts, warn }: { readonly parts: Parts; readonly warn: (sentence: string) => void },
): Promise<TuneBase> {
  const clock = new SystemClock()
  const log = parts.use(openEventLog(settings, pipeline))
  const identity = await log.identity()
  const grid = await openGrids(settings, parts)
  const { url, poolMax } = settings.database
  const scratch = parts.use(
    await PostgresScratch.open(
      {
        url,
        applicationName: 'forebay tune',
        connectionsMax: Math.max(2, poolMax),
        connectTimeoutMs: databaseConnectMs,
        statementTimeoutMs: statementMs,
        lockTimeoutMs: statementMs,
        idleInTransactionTimeoutMs: statementMs,
      },
      warn,
    ),
  )
  const made: ScratchTask[] = []
  for (const definition of tasks) {
    const sink = await scratchSink(definition, { scratch, clock, pipeline: pipeline.name })
    made.push({ definition, sink, isTracked: trackedTasks(tasks).includes(definition.name) })
  }
  const converter = new Converter({
    source: pipeline.source,
    key: pipeline.key,
    tasks: made.map(convertingTask),
    queues: settings.grid.queues,
    eventBytesMax: settings.eventBytesMax,
    linesBytesMax: linesBytesMaxOf(settings.grid.segmentBytesMax),
  })
  return { settings, pipeline, clock, log, identity, grid, scratch, tasks: made, converter, warn }
}

/** As a node converts for it. */
export function convertingTask({ definition, isTracked, sink }: ScratchTask): ConvertingTask {
  return {
    name: definition.name,
    isTracked,
    convert: definition.convert,
    encode: (job) => sink.encode(job),
    latestBy: definition.sink.traits?.latestBy,
  }
}

async function openGrids(settings: NodeSettings, parts: Parts): Promise<GridProbe> {
  const scope = `tune-${randomBytes(6).toString('hex')}`
  if (settings.grid.mode === 'local') {
    const grid: JobGrid = parts.use(new LocalJobGrid({ capacity: settings.grid.capacity }))
    return { writer: grid, reader: grid, scope }
  }
  const writer = parts.use(await openGrid(settings))
  const reader = parts.use(await openGrid(settings))
  return { writer, reader, scope }
}

async function scratchSink(
  { name, sink }: TaskDefinition,
  { scratch, clock, pipeline }: { scratch: PostgresScratch; clock: Clock; pipeline: string },
): Promise<RunningSink> {
  const { table, isWithinNodes } = sink.traits ?? {}
  if (table !== undefined) {
    const copy = await scratch.createLike(quotedTable(planTable(table)), { isPlain: table.upsertOn === undefined })
    return runningSink(sink, await openPostgresTable({ ...table, table: copy }, { database: scratch.pool }))
  }
  // What leaves the nodes would be there twice: its jobs go nowhere.
  if (isWithinNodes !== true) return { label: sink.label, encode: encodeOf(sink), delivery: 'ephemeral', deliver: () => Promise.resolve() }
  const grid = new LocalJobGrid({ capacity: 1 })
  const ports = { clock, grid, observer: silent, database: scratch.pool, scope: 'tune', secret: 'tune', node: 'tune', pipeline }
  return runningSink(sink, await sink.open({ ...ports, task: name, log: () => undefined }))
}

/** A ledger in the scratch schema, of a pipeline of its own. */
export function openScratchLedger(
  { settings, pipeline, scratch, identity }: Pick<TuneBase, 'settings' | 'pipeline' | 'scratch' | 'identity'>,
  name: string,
  startAt: () => Promise<ReadonlyMap<number, bigint>>,
): Promise<PostgresLedger> {
  return openPostgresLedger({
    pool: scratch.pool,
    pipeline: name,
    topic: pipeline.source.topic,
    identity,
    fingerprint: fingerprintOf(settings, pipeline),
    fileHash: null,
    isJoinOnly: false,
    startAt,
    earliestFloors: startAt,
    synchronousCommit: settings.database.synchronousCommit,
  })
}

/** Flushes samples as a node flushes jobs: watermarks of every queue, the rows, one commit; pushes as deliveries. */
export async function openFlushProbe(base: TuneBase, samples: ReadonlyMap<string, JobSample>): Promise<FlushProbe> {
  const { identity, settings, tasks } = base
  const partitions = Array.from({ length: identity.partitions }, (_, partition) => partition)
  const ledger = await openScratchLedger(base, 'measured', () => Promise.resolve(new Map(partitions.map((partition) => [partition, -1n]))))
  const queues = partitions.flatMap((partition) => Array.from({ length: settings.grid.queues }, (_, queue) => ({ partition, queue })))
  const applied = new Map<string, bigint>()
  const usable = new Map([...samples].map(([task, { texts }]) => [task, texts]))
  const batches = new Map<string, JobLines>()
  const batchOf = (task: string, rows: number) => {
    const key = `${task} ${rows}`
    const batch = batches.get(key) ?? linesOf(task, usable.get(task)!, rows)
    batches.set(key, batch)
    return batch
  }
  const flushOnce = async ({ definition: { name }, sink, isTracked }: ScratchTask, rows: number): Promise<void> => {
    const jobs = [batchOf(name, rows)]
    if (sink.delivery !== 'exactly-once') await sink.deliver(jobs, new AbortController().signal)
    if (!isTracked) return
    // Queues advance together, no more of them than there are rows.
    const moved = rows >= queues.length ? queues : queues.slice(0, 1)
    const advances = moved.map((queue) => {
      const key = `${name} ${queue.partition} ${queue.queue}`
      return { ...queue, from: applied.get(key) ?? -1n, to: (applied.get(key) ?? -1n) + 1n }
    })
    await ledger.flush({
      task: name,
      advances,
      write: async (transaction) => {
        if (sink.delivery === 'exactly-once') await sink.write(transaction, jobs)
      },
    })
    for (const { partition, queue, to } of advances) applied.set(`${name} ${partition} ${queue}`, to)
  }
  return {
    flush: async (task, rows) => {
      const one = tasks.find(({ definition }) => definition.name === task)!
      try {
        await flushOnce(one, rows)
      } catch (error) {
        if (!isForebayError(error, 'FB_BAD_JOB')) throw error
        // As on a node, jobs that the table refuses are dead letters: the others are what is measured.
        usable.set(task, await withoutRefused(base, one, usable.get(task)!))
        for (const key of batches.keys()) if (key.startsWith(`${task} `)) batches.delete(key)
        await flushOnce(one, rows)
      }
    },
  }
}

async function withoutRefused({ scratch }: TuneBase, { definition, sink }: ScratchTask, texts: readonly string[]): Promise<string[]> {
  const refused = await scratch.pool.use('looking for jobs that the table refuses', async (client) => {
    await client.query('begin')
    const transaction = new PostgresTransaction(client, { pipeline: '', epoch: 0, topic: '' }, 'measuring')
    const letters = await writeIsolating(sink as TransactionalSink, transaction, [linesOf(definition.name, texts, texts.length)])
    await client.query('rollback')
    return new Set(letters.map(({ offset }) => Number(offset)))
  })
  if (refused.size === texts.length)
    throw new ForebayError(
      'FB_SCHEMA',
      `the table of task ${definition.name} refuses every job of the newest events; see forebay dead-letters list`,
    )
  return texts.filter((_, index) => !refused.has(index))
}

function linesOf(task: string, texts: readonly string[], rows: number): JobLines {
  const lines = Array.from({ length: rows }, (_, i) => texts[i % texts.length]!)
  const offsets = Uint32Array.from(lines, (_, i) => i)
  const bytes = Buffer.from(`${lines.join('\n')}\n`)
  return new JobLines({ task, kind: 'job', partition: 0, queue: 0 }, bytes, { offset: 0n, timeMs: 0 }, offsets, new Uint32Array(rows))
}

/** Takes rings and maps of tune out of the grid; tells what stays. */
export async function destroyQuietly(
  grid: JobGrid,
  names: Parameters<JobGrid['destroy']>[0],
  warn: (sentence: string) => void,
): Promise<void> {
  try {
    await grid.destroy(names)
  } catch (error) {
    warn(`scratch structures could not be taken out of the grid (${sentenceOf(error)}): ${[...names.rings, ...names.maps].join(', ')}`)
  }
}
