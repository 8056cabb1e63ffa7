/**
 * The composition root: the only file that names adapters. Builds a node from its settings, runs it until the signal
 * aborts, and takes everything down again in the reverse order.
 */
import { linesBytesMaxOf } from './ingest/converting.ts'
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { openCronSchedule, openEventLog } from './connect/servers.ts'
import { carefulPorts, createSandbox } from './connect/careful.ts'
import type { PipelineFile } from './connect/careful.ts'
import { startGrid, type MemberEnd } from './connect/grid.ts'
import { createSink, nodeTask } from './connect/sinks.ts'
import type { CronSchedule } from './cron/cron-schedule.ts'
import { isForebayError, sentenceOf } from './errors.ts'
import type { EventLog, LogIdentity } from './events/event-log.ts'
import { startFloors } from './events/start-floors.ts'
import { checkCapacity } from './grid/check-capacity.ts'
import type { JobGrid } from './grid/job-grid.ts'
import type { Sandbox } from './ingest/sandbox.ts'
import { scopeName } from './grid/queue-name.ts'
import type { Scope } from './grid/queue-name.ts'
import { liveThroughEpochs } from './node/epoch-life.ts'
import { chosenTasks, fingerprintOf, trackedTasks } from './config/fingerprint-of.ts'
import { queueCopier } from './inspect/queue-copier.ts'
import { createLogger } from './status/logger.ts'
import { bufferStatus } from './node/buffers.ts'
import { HttpServer } from './http/http-server.ts'
import { channelsOf, checkMemory, memoryBound } from './node/memory-bound.ts'
import { LetterTally } from './dead-letters/letter-tally.ts'
import { keepLetters } from './node/letter-upkeep.ts'
import { LedgerWatch } from './node/ledger-watch.ts'
import { Membership } from './node/membership.ts'
import { noCut } from './node/reach.ts'
import { NodeMetrics } from './status/metrics.ts'
import { LogEnds, gatherStatus } from './node/node-status.ts'
import { Node } from './node/node.ts'
import { destroyOlderEpochs } from './node/older-epochs.ts'
import { watchPartitions } from './node/partition-watch.ts'
import { Parts } from './node/parts.ts'
import { watchOwnProgress } from './node/own-progress.ts'
import type { ProgressWatch } from './node/progress-watch.ts'
import { tellPressure } from './node/pressure.ts'
import { windowSegmentsMax } from './config/settings.ts'
import type { NodeSettings } from './config/settings.ts'
import { runSideLoop } from './node/side-loop.ts'
import type { SideLoopPorts } from './node/side-loop.ts'
import type { NodeStatus } from './status/status.ts'
import { troubleStatuses } from './status/trouble-status.ts'
import { TroubleTeller } from './node/trouble-teller.ts'
import { waitingStatus } from './status/waiting-status.ts'
import { WatchedEventLog } from './node/watched-event-log.ts'
import { WatchedGrid, oneKind, queueKinds } from './node/watched-grid.ts'
import { olderEpochs } from './epochs/older-epochs.ts'
import { floorChecksum } from './epochs/postgres-floor-events.ts'
import { openPostgresLedger } from './ledger/postgres-ledger.ts'
import type { PostgresLedger } from './ledger/postgres-ledger.ts'
import { PostgresPool } from './database/postgres-pool.ts'
import { forgetResolvedLetters } from './dead-letters/resolved-letters.ts'
import { NodePresence } from './epochs/presence.ts'
import type { PostgresTransaction } from './ledger/postgres-transaction.ts'
import type { Pipeline } from './pipeline/pipeline.ts'
import { SystemClock } from './schedule/clock.ts'
import type { Clock } from './schedule/clock.ts'
import type { RunningSink } from './sinks/sink.ts'
import type { WebSocketSink } from './sinks/web-socket/web-socket.ts'
import { Troubles } from './troubles.ts'

export interface RunOptions {
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  /** Hash of the pipeline's file, to warn when it changed under the same version. */
  readonly fileHash: string | null
  /** The pipeline's file itself, for a process that converts events which end theirs; without it none are looked for. */
  readonly file?: PipelineFile
  /** Ends the node cleanly. */
  readonly signal: AbortSignal
  /** Called once the node serves; `url` is the address of its pages, `waitsFor` what it waits for when it does not run yet. */
  readonly onRunning?: (url: string, waitsFor: string | undefined) => void
}

/** What the node's pages show: it runs, waits, or has failed. */
interface Face {
  built: BuiltNode | undefined
  waitsFor: string | undefined
  fatalReason: string | undefined
}

/**
 * Runs one node until `signal` aborts, in one epoch after the other. Throws ForebayError: what is wrong, where, and what to do.
 */
export async function runNode(options: RunOptions): Promise<void> {
  const { settings, pipeline, signal, onRunning } = options
  await using parts = new Parts()
  const base = await openBase(settings, pipeline, options.file, parts)
  const { clock, logger, pool } = base
  const face: Face = { built: undefined, waitsFor: undefined, fatalReason: undefined }
  const presence = new NodePresence(
    { database: { use: (doing, body) => base.troubles.watch('presence', 'database', () => pool.use(doing, body)) }, clock },
    {
      pipeline: pipeline.name,
      node: base.id,
      fingerprint: fingerprintOf(settings, pipeline),
      onDraining: () => face.built?.node.hurry(),
    },
  )
  const status = statusSource(base, face, options)
  const left = new AbortController()
  const teller = new TroubleTeller({ troubles: base.troubles, clock, observer: base.metrics })
  const telling = runSideLoop('telling of troubles', (until) => teller.run(until), base.side, left.signal)
  let present: Promise<void> | undefined
  let http: HttpServer | undefined
  const show = async (change: Pick<Face, 'built' | 'waitsFor'>) => {
    if (change.waitsFor !== undefined && change.waitsFor !== face.waitsFor) logger.warn(change.waitsFor)
    Object.assign(face, change)
    const isFirst = http === undefined
    http ??= await serve(base, face, options, status, parts)
    await presence.tell({ epoch: change.built?.epoch ?? null, waitsFor: change.waitsFor ?? null, http: http.announcedUrl })
    present ??= runSideLoop('telling the others that the node lives', (until) => presence.run(until), base.side, left.signal)
    if (isFirst) onRunning?.(http.url, change.waitsFor)
    return http
  }
  try {
    await liveThroughEpochs(
      {
        clock,
        open: (isJoinOnly) => openLedger(base, options, isJoinOnly),
        live: (ledger, until) => runEpoch(base, ledger, { options, status, show }, until),
        onWaiting: async (sentence) => void (await show({ built: undefined, waitsFor: sentence })),
      },
      signal,
    )
  } catch (error) {
    face.fatalReason = sentenceOf(error)
    throw error
  } finally {
    left.abort()
    await Promise.all([present, telling])
    if (signal.aborted) await base.stopMember()
    // Refused before it served anybody.
    else if (http === undefined) await base.dropMember()
  }
}

interface EpochOptions {
  readonly options: RunOptions
  readonly status: () => NodeStatus
  /** Shows the node on its pages and tells the others of it. */
  readonly show: (change: Pick<Face, 'built' | 'waitsFor'>) => Promise<HttpServer>
}

/** Runs in the epoch of `ledger` until `signal` aborts; throws FB_EPOCH_CLOSED when it is closed. */
async function runEpoch(base: Base, ledger: PostgresLedger, { options, status, show }: EpochOptions, signal: AbortSignal): Promise<void> {
  const { settings, pipeline } = options
  const { clock, metrics, logger, log, cron } = base
  const checksum = floorChecksum(base, { pipeline: pipeline.name, topic: pipeline.source.topic })
  await checksum.check()
  const built = await buildNode(base, ledger, settings, pipeline)
  const { node, membership, channels, ends } = built
  const watched = { clock, observer: metrics, database: base.pool, grid: base.grid }
  const progress = (built.progress = watchOwnProgress(watched, { id: base.id, settings, pipeline, node, membership, ends, status }))
  const http = await show({ built, waitsFor: undefined })
  membership.update({ http: http.announcedUrl })
  const side = new AbortController()
  const pressure = { owners: () => node.owners, waits: () => metrics.total('windowFull'), clock, observer: metrics }
  const loops: (readonly [what: string, run: (until: AbortSignal) => Promise<void>])[] = [
    ['looking up the ends of the log', (until) => ends.run({ log, clock, observer: metrics }, () => node.owners, until)],
    ['telling of dead letters', (until) => built.letters.run(until)],
    ['watching the floors', (until) => progress.run(until)],
    ['watching the windows', (until) => tellPressure(pressure, until)],
    ['tidying up after earlier epochs', (until) => tidy(base, built, options, until)],
    ['deleting old dead letters', (until) => forgetLetters(base, options, until)],
    ...channels.map((channel) => [`the ${channel.label}`, (until: AbortSignal) => channel.follow(until)] as const),
  ]
  const beside = loops.map(([what, run]) => runSideLoop(what, run, base.side, side.signal))
  cron.start(side.signal)
  for (const warning of ledger.warnings) metrics.log('warn', warning)
  if (ledger.cutSentence !== undefined) metrics.log('warn', ledger.cutSentence)
  logger.info(`node ${settings.node.name} runs pipeline ${pipeline.name} (epoch ${ledger.epoch}) at ${http.url}`)
  try {
    const known = { topic: pipeline.source.topic, partitions: base.identity.partitions }
    const ports = { log, clock, observer: metrics }
    await checksum.watch(node.owners, signal, (until) => watchPartitions(ports, known, until, (inner) => node.run(inner)))
  } catch (error) {
    if (isForebayError(error, 'FB_EPOCH_CLOSED')) {
      logger.warn(error.message)
      http.closeClients('the epoch of the pipeline was closed; connect again')
    }
    throw error
  } finally {
    side.abort()
    await Promise.all(beside)
  }
}

/** Everything a node stands on: log, grid, database, and what tells of it. */
interface Base {
  /** Unique for this life of the process. */
  readonly id: string
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: NodeMetrics
  readonly troubles: Troubles
  readonly pool: PostgresPool
  readonly log: EventLog
  /** How often a `Node` was built. */
  lives: number
  /** As of the last opening of an epoch. */
  identity: LogIdentity
  readonly grid: JobGrid
  readonly cron: CronSchedule
  readonly stopMember: MemberEnd['stopMember']
  readonly dropMember: MemberEnd['dropMember']
  /** What loops beside the work are told with. */
  readonly side: SideLoopPorts
  readonly sandbox: Sandbox | undefined
}

async function openBase(settings: NodeSettings, pipeline: Pipeline, file: PipelineFile | undefined, parts: Parts): Promise<Base> {
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
  const troubles = new Troubles(clock)
  const log = parts.use(new WatchedEventLog(openEventLog(settings, pipeline), troubles))
  const identity = await log.identity()
  checkMemory(settings, identity.partitions, { channels: channelsOf(chosenTasks(settings, pipeline)) })
  const { grid, stopMember, dropMember } = await startGrid(gridSettings, { clock, observer: metrics }, parts)
  const id = `${node.name}.${randomBytes(3).toString('hex')}`
  const cron = openCronSchedule(settings, pipeline, { id, clock, observer: metrics, tally: metrics.cron, troubles }, parts)
  const side = { clock, observer: metrics, troubles }
  const sandbox = createSandbox(settings, pipeline, file, parts)
  return { id, clock, lives: 0, logger, metrics, troubles, pool, log, identity, grid, cron, stopMember, dropMember, side, sandbox }
}

async function openLedger(base: Base, { settings, pipeline, fileHash, signal }: RunOptions, isJoinOnly: boolean): Promise<PostgresLedger> {
  const { id, clock, pool, log, logger } = base
  const identity = await log.identity()
  if (identity.partitions > base.identity.partitions) {
    try {
      checkMemory(settings, identity.partitions, { channels: channelsOf(chosenTasks(settings, pipeline)) })
    } catch (error) {
      // It ran until now, and what was added may stay small; the next start refuses.
      logger.warn(sentenceOf(error))
    }
  }
  base.identity = identity
  return openPostgresLedger({
    pool,
    pipeline: pipeline.name,
    topic: pipeline.source.topic,
    identity,
    fingerprint: fingerprintOf(settings, pipeline),
    fileHash,
    isJoinOnly,
    startAt: () => startFloors(log, identity.partitions, settings.startAt),
    earliestFloors: () => startFloors(log, identity.partitions, 'earliest'),
    synchronousCommit: settings.database.synchronousCommit,
    drain: { clock, requestedBy: `node ${id}`, signal },
  })
}

/** One lease after its start the node takes out of the grid what earlier epochs left there. */
function tidy({ pool, identity, grid, clock, metrics }: Base, built: BuiltNode, { settings, pipeline }: RunOptions, signal: AbortSignal) {
  const before = (epoch: number) => olderEpochs(pool, pipeline.name, epoch)
  const channels = built.channels.map(({ stats }) => stats.channel)
  const options = { scope: built.scopeParts, partitions: identity.partitions, channels, waitMs: settings.grid.leaseMs }
  return destroyOlderEpochs({ grid, clock, observer: metrics, before }, options, signal)
}

function forgetLetters({ pool, identity, log, clock }: Base, { settings, pipeline }: RunOptions, signal: AbortSignal) {
  const { name, source } = pipeline
  const kept = { pipeline: name, topic: source.topic, keptMs: settings.database.resolvedLettersKeptMs }
  const forget = (logStarts: ReadonlyMap<number, bigint>) => forgetResolvedLetters(pool, { ...kept, logStarts })
  return keepLetters({ clock, log, forget }, identity.partitions, signal)
}

interface BuiltNode {
  readonly node: Node
  readonly membership: Membership
  readonly channels: readonly WebSocketSink[]
  readonly epoch: number
  readonly scope: string
  readonly scopeParts: Scope
  readonly watch: LedgerWatch<PostgresTransaction>
  readonly ends: LogEnds
  progress: ProgressWatch | undefined
  readonly letters: LetterTally
}

async function buildNode(base: Base, ledger: PostgresLedger, settings: NodeSettings, pipeline: Pipeline): Promise<BuiltNode> {
  const { id, clock, metrics: observer, pool, log, identity, troubles } = base
  const { beatMs, leaseMs, queues, capacity, lingerMs, segmentBytesMax } = settings.grid
  const { deployment, epoch, mark } = ledger
  const secret = settings.grid.secret ?? deployment
  const scopeParts = { deployment, pipeline: pipeline.name, topic: pipeline.source.topic, epoch, mark }
  const scope = scopeName(scopeParts)
  await checkCapacity(base.grid, scope, capacity)
  const watch = new LedgerWatch(ledger, clock, troubles)
  const prefix = `forebay.${scope}.`
  const grid = new WatchedGrid(base.grid, troubles, { kinds: queueKinds, prefix })
  const membersGrid = new WatchedGrid(base.grid, troubles, { kinds: oneKind('membership'), prefix })
  const valuesGrid = new WatchedGrid(base.grid, troubles, { kinds: oneKind('values'), prefix })
  const tasks = chosenTasks(settings, pipeline)
  const tracked = trackedTasks(tasks)
  const sinks = new Map<string, RunningSink>()
  for (const task of tasks)
    sinks.set(task.name, await createSink(task, { pool, grid: valuesGrid, clock, observer, scope, secret, nodeId: id }))
  const read = () => observer.total('events') - observer.total('tombstones')
  const before = read()
  const letters = new LetterTally({ clock, observer, events: () => read() - before })
  const info = { epoch, http: null, pid: process.pid, cut: noCut }
  const membership = new Membership({ grid: membersGrid, clock, observer }, { id, scope, beatMs, leaseMs }, info)
  const node = new Node(
    { log, grid, ledger: watch, clock, observer, membership, troubles, ...carefulPorts(pool, pipeline.name, epoch, base.sandbox) },
    {
      id,
      // It may open the same epoch again, and stamps of its earlier owners there must not pass for those of the later.
      ownerName: `${id}.${base.lives++}`,
      scope,
      secret,
      partitions: identity.partitions,
      queues,
      windowSegmentsMax: windowSegmentsMax(capacity),
      lingerMs,
      eventBytesMax: settings.eventBytesMax,
      linesBytesMax: linesBytesMaxOf(segmentBytesMax),
      source: pipeline.source,
      key: pipeline.key,
      onDead: (task, error) => letters.converted(task, error),
      tasks: tasks.map((task) => ({
        ...nodeTask(task, watch.sinkOf(task.name, sinks.get(task.name)!), tracked, settings),
        onBuried: (buried) => letters.buried(buried),
      })),
    },
  )
  const channels = [...sinks.values()].filter((sink): sink is WebSocketSink => sink.delivery === 'ephemeral')
  return { node, membership, channels, epoch, scope, scopeParts, watch, ends: new LogEnds(), progress: undefined, letters }
}

/** What the node tells of itself, in whatever epoch it is. */
function statusSource(base: Base, face: Face, { settings, pipeline }: RunOptions): () => NodeStatus {
  const { id, clock, metrics } = base
  const same = {
    id,
    version: pipeline.version,
    pipeline: pipeline.name,
    startedAtMs: clock.wallMs(),
    metrics,
    cron: () => base.cron.status,
  }
  return () => {
    const { built, waitsFor = 'it starts' } = face
    const moment = { nowMs: clock.wallMs(), troubles: () => troubleStatuses(base.troubles, clock) }
    if (built === undefined) return waitingStatus({ ...same, ...moment, waitsFor })
    const { channels, watch: ledger, progress, ...parts } = built
    const windowMax = windowSegmentsMax(settings.grid.capacity)
    const buffers = () =>
      bufferStatus(
        built.node,
        base.log,
        memoryBound(settings, base.identity.partitions, channelsOf(chosenTasks(settings, pipeline))).bufferBytes,
      )
    return gatherStatus({
      ...same,
      ...moment,
      ...parts,
      ledger,
      buffers,
      windowSegmentsMax: windowMax,
      channels: () => channels.map(({ stats }) => stats),
      stalls: () => progress?.stalls() ?? [],
    })
  }
}

/** Serves status, metrics and channels from now on, of whatever epoch the node is in. */
async function serve(base: Base, face: Face, { settings }: RunOptions, status: () => NodeStatus, parts: Parts): Promise<HttpServer> {
  const { metrics } = base
  metrics.watch(status)
  const { name: _, ...address } = settings.node
  const channels = () => new Map(face.built?.channels.map((channel) => [channel.stats.channel, channel]))
  const fatalReason = () => face.fatalReason
  const scopeNow = () => face.built?.scope
  const queue: ReturnType<typeof queueCopier> = (...asked) => queueCopier(base.grid, settings, base.identity.partitions, scopeNow)(...asked)
  return parts.use(await HttpServer.listen({ ...address, status, fatalReason, metrics, queue, channels, observer: metrics }))
}
