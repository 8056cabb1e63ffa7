/**
 * The composition root: the only file that names adapters. Builds a node from its settings, runs it until the signal
 * aborts, and takes everything down again in the reverse order.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { openEventLog } from './connect.ts'
import { ForebayError, sentenceOf } from './errors.ts'
import { floorBefore } from './events/event-log.ts'
import type { EventLog, LogIdentity } from './events/event-log.ts'
import { HazelcastJobGrid } from './grid/hazelcast-job-grid.ts'
import { HazelcastMember } from './grid/hazelcast-member.ts'
import type { JobGrid } from './grid/job-grid.ts'
import { LocalJobGrid } from './grid/local-job-grid.ts'
import { ringName, scopeName } from './grid/queue-name.ts'
import { hashName } from './ingest/converter.ts'
import { createLogger } from './node/logger.ts'
import { HttpServer } from './node/http-server.ts'
import { checkMemory } from './node/memory-bound.ts'
import { LedgerWatch } from './node/ledger-watch.ts'
import { Membership } from './node/membership.ts'
import { NodeMetrics } from './node/metrics.ts'
import { LogEnds, gatherStatus } from './node/node-status.ts'
import { Node } from './node/node.ts'
import type { NodeTask } from './node/node.ts'
import { Parts } from './node/parts.ts'
import { windowSegmentsMax } from './node/settings.ts'
import type { GridSettings, NodeSettings } from './node/settings.ts'
import type { Observer } from './observer.ts'
import { openPostgresLedger } from './offsets/postgres-ledger.ts'
import type { PostgresLedger } from './offsets/postgres-ledger.ts'
import { PostgresPool } from './offsets/postgres-pool.ts'
import type { PostgresTransaction } from './offsets/postgres-transaction.ts'
import type { Pipeline, TaskDefinition } from './pipeline/pipeline.ts'
import { SystemClock } from './schedule/clock.ts'
import type { Clock } from './schedule/clock.ts'
import { createPostgresTable } from './sinks/postgres-table.ts'
import type { RunningSink } from './sinks/sink.ts'
import { createWebSocket } from './sinks/web-socket.ts'
import type { WebSocketSink } from './sinks/web-socket.ts'

export interface RunOptions {
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  /** Hash of the pipeline's file, to warn when it changed under the same version. */
  readonly fileHash: string | null
  /** Ends the node cleanly. */
  readonly signal: AbortSignal
  /** Called once the node runs and serves; `url` is the address of its pages. */
  readonly onRunning?: (url: string) => void
}

const rowsMaxDefault = 50_000
const bytesMaxDefault = 8 * 1024 * 1024
/** What the header and the section table of a segment may take of its size. */
const headBytesMax = 4096

/** Runs one node until `signal` aborts. Throws ForebayError: what is wrong, where, and what to do. */
export async function runNode(options: RunOptions): Promise<void> {
  const { settings, pipeline, signal, onRunning } = options
  await using parts = new Parts()
  const base = await openBase(settings, pipeline, parts)
  const ledger = await openLedger(base, options)
  const built = await buildNode(base, ledger, settings, pipeline)
  const { node, membership, channels } = built
  const { clock, metrics, logger, log } = base
  const ends = new LogEnds()
  let fatalReason: string | undefined
  const http = await serve(base, built, { settings, pipeline, ends, fatalReason: () => fatalReason }, parts)
  membership.update({ http: http.url })
  const side = new AbortController()
  const beside = [ends.run(log, () => node.owners.keys(), clock, side.signal), ...channels.map((channel) => channel.follow(side.signal))]
  for (const warning of ledger.warnings) metrics.log('warn', warning)
  logger.info(`node ${settings.node.name} runs pipeline ${pipeline.name} (epoch ${ledger.epoch}) at ${http.url}`)
  onRunning?.(http.url)
  try {
    await node.run(signal)
  } catch (error) {
    fatalReason = sentenceOf(error)
    throw error
  } finally {
    side.abort()
    await Promise.all(beside)
    if (signal.aborted) await base.stopMember()
  }
}

/** Everything a node stands on: log, grid, database, and what tells of it. */
interface Base {
  /** Unique for this life of the process. */
  readonly id: string
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: NodeMetrics
  readonly pool: PostgresPool
  readonly log: EventLog
  readonly identity: LogIdentity
  readonly grid: JobGrid
  readonly stopMember: () => Promise<void>
}

async function openBase(settings: NodeSettings, pipeline: Pipeline, parts: Parts): Promise<Base> {
  const { node, grid: gridSettings, database, logLevel } = settings
  const clock = new SystemClock()
  const secrets = gridSettings.secret === undefined ? [] : [gridSettings.secret]
  const logger = createLogger({ node: node.name, level: logLevel, secrets })
  const metrics = parts.use(new NodeMetrics({ logger, clock }))
  const pool = parts.use(
    new PostgresPool({
      url: database.url,
      applicationName: `forebay ${node.name}`,
      connectionsMax: database.poolMax,
      connectTimeoutMs: 5000,
      statementTimeoutMs: database.statementTimeoutMs,
      lockTimeoutMs: database.lockTimeoutMs,
      idleInTransactionTimeoutMs: database.statementTimeoutMs,
    }),
  )
  const log = parts.use(openEventLog(settings, pipeline))
  const identity = await log.identity()
  checkMemory(settings, identity.partitions)
  const { grid, stopMember } = await startGrid(gridSettings, { clock, observer: metrics }, parts)
  return { id: `${node.name}.${randomBytes(3).toString('hex')}`, clock, logger, metrics, pool, log, identity, grid, stopMember }
}

function openLedger({ pool, log, identity }: Base, { settings, pipeline, fileHash }: RunOptions): Promise<PostgresLedger> {
  const { grid, eventBytesMax, startAt, database } = settings
  return openPostgresLedger({
    pool,
    pipeline: pipeline.name,
    topic: pipeline.source.topic,
    identity,
    fingerprint: {
      queues: grid.queues,
      hash: hashName,
      segmentBytesMax: grid.segmentBytesMax,
      eventBytesMax,
      tasks: trackedTasks(chosenTasks(settings, pipeline)),
      version: pipeline.version,
    },
    fileHash,
    startAt: () => startFloors(log, identity.partitions, startAt),
    synchronousCommit: database.synchronousCommit,
  })
}

interface BuiltNode {
  readonly node: Node
  readonly membership: Membership
  readonly channels: readonly WebSocketSink[]
  readonly epoch: number
  readonly scope: string
  readonly watch: LedgerWatch<PostgresTransaction>
}

async function buildNode(base: Base, ledger: PostgresLedger, settings: NodeSettings, pipeline: Pipeline): Promise<BuiltNode> {
  const { id, clock, metrics: observer, pool, log, identity, grid } = base
  const { beatMs, leaseMs, secret, queues, capacity, lingerMs, segmentBytesMax } = settings.grid
  const { deployment, epoch } = ledger
  const scope = scopeName({ deployment, pipeline: pipeline.name, topic: pipeline.source.topic, epoch })
  await checkCapacity(grid, scope, settings.grid)
  const watch = new LedgerWatch(ledger, clock)
  const tasks = chosenTasks(settings, pipeline)
  const tracked = trackedTasks(tasks)
  const sinks = new Map<string, RunningSink>()
  for (const task of tasks) sinks.set(task.name, await createSink(task, { pool, grid, clock, observer, scope, nodeId: id }))
  const info = { epoch, http: null, pid: process.pid, isEligible: true }
  const membership = new Membership({ grid, clock, observer }, { id, scope, beatMs, leaseMs }, info)
  const node = new Node(
    { log, grid, ledger: watch, clock, observer, membership },
    {
      id,
      scope,
      secret: secret ?? deployment,
      partitions: identity.partitions,
      queues,
      windowSegmentsMax: windowSegmentsMax(capacity),
      lingerMs,
      eventBytesMax: settings.eventBytesMax,
      linesBytesMax: segmentBytesMax - headBytesMax,
      decode: (value) => pipeline.source.decode.decode(value),
      key: pipeline.key,
      tasks: tasks.map((task) => nodeTask(task, watch.sinkOf(task.name, sinks.get(task.name)!), tracked, settings)),
    },
  )
  const channels = [...sinks.values()].filter((sink): sink is WebSocketSink => sink.delivery === 'ephemeral')
  return { node, membership, channels, epoch, scope, watch }
}

interface Serving {
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  readonly ends: LogEnds
  readonly fatalReason: () => string | undefined
}

/** Serves status, metrics and channels from now on. */
async function serve(base: Base, built: BuiltNode, serving: Serving, parts: Parts): Promise<HttpServer> {
  const { id, clock, metrics } = base
  const { node, membership, channels, epoch, scope, watch } = built
  const { settings, pipeline, ends, fatalReason } = serving
  const startedAtMs = clock.wallMs()
  const status = () =>
    gatherStatus({
      id,
      version: pipeline.version,
      pipeline: pipeline.name,
      epoch,
      scope,
      ledger: watch,
      startedAtMs,
      windowSegmentsMax: windowSegmentsMax(settings.grid.capacity),
      node,
      membership,
      metrics,
      channels: () => channels.map((channel) => channel.stats),
      ends,
    })
  metrics.watch(status)
  const { host, port } = settings.node
  const channelsByName = new Map(channels.map((channel) => [channel.stats.channel, channel]))
  return parts.use(await HttpServer.listen({ host, port, status, fatalReason, metrics, channels: () => channelsByName, observer: metrics }))
}

interface GridPorts {
  readonly clock: Clock
  readonly observer: Observer
}

/** The grid; in mode `embedded` with a supervised member beside the node. A member outlives a node that crashed, so that the next one adopts it. */
async function startGrid(
  settings: GridSettings,
  ports: GridPorts,
  parts: Parts,
): Promise<{ grid: JobGrid; stopMember: () => Promise<void> }> {
  const { mode, clusterName, members, capacity, backups, memberHeapMb, member: own } = settings
  if (mode === 'local') return { grid: parts.use(new LocalJobGrid({ capacity })), stopMember: () => Promise.resolve() }
  let stopMember = () => Promise.resolve()
  if (mode === 'embedded') {
    if (own === undefined)
      throw new ForebayError(
        'FB_CONFIG',
        'grid.mode is embedded, but grid.member does not say where the member lives; give grid.member.port and grid.member.dir',
      )
    const { name, address, dir, jars, configFile } = own
    const pidFile = join(dir, 'pids', `${name}.json`)
    const logFile = join(dir, `${name}.log`)
    const member = new HazelcastMember(ports, {
      name,
      clusterName,
      address,
      members,
      capacity,
      backups,
      memberHeapMb,
      jars,
      configFile,
      pidFile,
      logFile,
    })
    const stop = new AbortController()
    const running = member.run(stop.signal)
    running.catch((error: unknown) => ports.observer.log('error', `the member ended: ${String(error)}`))
    stopMember = async () => {
      stop.abort()
      await running
    }
    await Promise.race([member.ready(stop.signal), running])
  }
  const log = (level: 'debug' | 'warn' | 'error', message: string) =>
    ports.observer.log(level === 'error' ? 'warn' : 'debug', `hazelcast: ${message}`)
  return { grid: parts.use(await HazelcastJobGrid.connect({ clusterName, members, log })), stopMember }
}

function chosenTasks({ tasksOnly }: NodeSettings, pipeline: Pipeline): readonly TaskDefinition[] {
  const names = pipeline.tasks.map((task) => task.name)
  const unknown = tasksOnly?.find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw new ForebayError('FB_CONFIG', `pipeline ${pipeline.name} has no task ${unknown}; it has ${names.join(', ')}`)
  return tasksOnly === undefined ? pipeline.tasks : pipeline.tasks.filter((task) => tasksOnly.includes(task.name))
}

/** The durable tasks; all of them when none is, since something must hold the floor. */
function trackedTasks(tasks: readonly TaskDefinition[]): string[] {
  const durable = tasks.filter((task) => task.sink.kind === 'postgres-table')
  return (durable.length > 0 ? durable : tasks).map((task) => task.name)
}

async function startFloors(log: EventLog, partitions: number, startAt: NodeSettings['startAt']): Promise<Map<number, bigint>> {
  const floors = new Map<number, bigint>()
  for (let partition = 0; partition < partitions; partition++) {
    const { startOffset, endOffset } = await log.range(partition)
    const nextOffset = startAt === 'earliest' ? startOffset : startAt === 'latest' ? endOffset : await log.offsetAt(partition, startAt)
    floors.set(partition, floorBefore(nextOffset))
  }
  return floors
}

async function checkCapacity(grid: JobGrid, scope: string, { capacity }: GridSettings): Promise<void> {
  const found = await grid.capacity(ringName(scope, { partition: 0, queue: 0 }))
  if (found >= capacity) return
  throw new ForebayError(
    'FB_GRID_SETTINGS',
    `the grid's rings hold ${found} entries, fewer than grid.capacity (${capacity}): start its members with config/hazelcast.yaml and forebay.capacity=${capacity}, or lower grid.capacity`,
  )
}

interface SinkPorts extends GridPorts {
  readonly pool: PostgresPool
  readonly grid: JobGrid
  readonly scope: string
  readonly nodeId: string
}

async function createSink({ sink }: TaskDefinition, { pool, ...ports }: SinkPorts): Promise<RunningSink> {
  if (sink.kind === 'postgres-table') return pool.use(`checking table ${sink.table}`, (client) => createPostgresTable(sink, client))
  const { seed } = sink
  if (seed === undefined) return createWebSocket({ definition: sink, ...ports })
  const rowsOf = async () => {
    const { rows } = await pool.use(`seeding channel ${sink.channel}`, (client) => client.query<{ key: string; value: unknown }>(seed.sql))
    return rows.map(({ key, value }) => ({ key, json: JSON.stringify(value) }))
  }
  return createWebSocket({ definition: sink, ...ports, seed: rowsOf })
}

function nodeTask(task: TaskDefinition, sink: RunningSink, tracked: readonly string[], settings: NodeSettings): NodeTask {
  const { everyMs, rowsMax, bytesMax } = { ...task, ...settings.tasks[task.name] }
  return {
    name: task.name,
    isTracked: tracked.includes(task.name),
    convert: task.convert,
    encode: (job) => sink.encode(job),
    sink,
    everyMs,
    rowsMax: rowsMax ?? rowsMaxDefault,
    bytesMax: bytesMax ?? bytesMaxDefault,
  }
}
