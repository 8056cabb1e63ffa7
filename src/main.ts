/**
 * The composition root: the only file that names adapters. Builds a node from its settings, runs it until the signal
 * aborts, and takes everything down again in the reverse order.
 */
import { openBase } from './connect/node-base.ts'
import type { Base } from './connect/node-base.ts'
import { linesBytesMaxOf } from './ingest/converting.ts'
import { carefulPorts } from './connect/careful.ts'
import type { PipelineFile } from './connect/careful.ts'
import { closeSinks, nodeTask, openSinks } from './connect/sinks.ts'
import type { TaskSink } from './connect/sinks.ts'
import { isForebayError, sentenceOf } from './errors.ts'
import { startFloors } from './events/start-floors.ts'
import { checkCapacity } from './grid/check-capacity.ts'
import { scopeName } from './grid/queue-name.ts'
import type { Scope } from './grid/queue-name.ts'
import { liveThroughEpochs } from './node/epoch-life.ts'
import { chosenTasks, fingerprintOf, trackedTasks } from './config/fingerprint-of.ts'
import { queueCopier } from './inspect/queue-copier.ts'
import { bufferStatus } from './node/buffers.ts'
import { HttpServer } from './http/http-server.ts'
import { sinkBytesOf, checkMemory, memoryBound } from './node/memory-bound.ts'
import { LetterTally } from './dead-letters/letter-tally.ts'
import { keepLetters } from './node/letter-upkeep.ts'
import { LedgerWatch } from './node/ledger-watch.ts'
import { Membership } from './node/membership.ts'
import { noCut } from './node/reach.ts'
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
import type { NodeStatus } from './status/status.ts'
import { troubleStatuses } from './status/trouble-status.ts'
import { TroubleTeller } from './node/trouble-teller.ts'
import { waitingStatus } from './status/waiting-status.ts'
import { WatchedGrid, oneKind, queueKinds } from './node/watched-grid.ts'
import { olderEpochs } from './epochs/older-epochs.ts'
import { floorChecksum } from './epochs/postgres-floor-events.ts'
import { openPostgresLedger } from './ledger/postgres-ledger.ts'
import type { PostgresLedger } from './ledger/postgres-ledger.ts'
import { forgetResolvedLetters } from './dead-letters/resolved-letters.ts'
import { NodePresence } from './epochs/presence.ts'
import type { PostgresTransaction } from './ledger/postgres-transaction.ts'
import type { Pipeline } from './pipeline/pipeline.ts'
import type { Channel } from './sinks/web-socket/channel.ts'

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
async function runEpoch(base: Base, ledger: PostgresLedger, epoch: EpochOptions, signal: AbortSignal): Promise<void> {
  const { settings, pipeline } = epoch.options
  const checksum = floorChecksum(base, { pipeline: pipeline.name, topic: pipeline.source.topic })
  await checksum.check()
  const built = await buildNode(base, ledger, settings, pipeline)
  try {
    await runBuilt(base, { ledger, checksum, built }, epoch, signal)
  } finally {
    await closeSinks(built.sinks)
  }
}

interface Opened {
  readonly ledger: PostgresLedger
  readonly checksum: ReturnType<typeof floorChecksum>
  readonly built: BuiltNode
}

async function runBuilt(
  base: Base,
  { ledger, checksum, built }: Opened,
  { options, status, show }: EpochOptions,
  signal: AbortSignal,
): Promise<void> {
  const { settings, pipeline } = options
  const { clock, metrics, logger, log, cron } = base
  const { node, membership, sinks, ends } = built
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
    ...sinks.flatMap(({ open, running }) =>
      open.follow === undefined ? [] : [[`the ${running.label}`, (until: AbortSignal) => open.follow!(until)] as const],
    ),
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

async function openLedger(base: Base, { settings, pipeline, fileHash, signal }: RunOptions, isJoinOnly: boolean): Promise<PostgresLedger> {
  const { id, clock, pool, log, logger } = base
  const identity = await log.identity()
  if (identity.partitions > base.identity.partitions) {
    try {
      checkMemory(settings, identity.partitions, { sinkBytes: sinkBytesOf(chosenTasks(settings, pipeline)) })
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
  readonly sinks: readonly TaskSink[]
  readonly channels: readonly Channel[]
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
  const context = { pipeline: pipeline.name, node: id, database: pool, grid: valuesGrid, clock, observer, scope, secret }
  const sinks = await openSinks(tasks, context)
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
      tasks: tasks.map((task, i) => ({
        ...nodeTask(task, watch.sinkOf(task.name, sinks[i]!.running), tracked, settings),
        onBuried: (buried) => letters.buried(buried),
      })),
    },
  )
  const channels = sinks.flatMap(({ open }) => open.channel ?? [])
  return { node, membership, sinks, channels, epoch, scope, scopeParts, watch, ends: new LogEnds(), progress: undefined, letters }
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
        memoryBound(settings, base.identity.partitions, sinkBytesOf(chosenTasks(settings, pipeline))).bufferBytes,
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
