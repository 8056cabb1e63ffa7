/** A whole node as `main.ts` puts it together, on ports in memory and a clock of the test. */
import type { LedgerFacts } from '../../src/inspect/facts.ts'
import { judgeOwn } from '../../src/inspect/own-facts.ts'
import { LetterTally } from '../../src/dead-letters/letter-tally.ts'
import { LedgerWatch } from '../../src/node/ledger-watch.ts'
import { Membership } from '../../src/node/membership.ts'
import { NodeMetrics } from '../../src/status/metrics.ts'
import { LogEnds, gatherStatus } from '../../src/node/node-status.ts'
import { Node } from '../../src/node/node.ts'
import type { NodeTask } from '../../src/node/node.ts'
import { ProgressWatch } from '../../src/node/progress-watch.ts'
import { noCut } from '../../src/node/reach.ts'
import { troubleStatuses } from '../../src/status/trouble-status.ts'
import { TroubleTeller } from '../../src/node/trouble-teller.ts'
import { WatchedEventLog } from '../../src/node/watched-event-log.ts'
import { WatchedGrid, oneKind, queueKinds } from '../../src/node/watched-grid.ts'
import { createLogger } from '../../src/status/logger.ts'
import { Troubles } from '../../src/troubles.ts'
import { Faults, MemoryLedger, MemoryLog, memoryGrid } from './memory-ports.ts'
import { VirtualClock } from './virtual-clock.ts'

export const scope = 'd.p.t.e1-m'
const id = 'node-1.a'
const secret = 'a secret of the test'

export interface WatchedNodeOptions {
  readonly partitions?: number
  readonly queues?: number
  readonly everyMs?: number
  readonly decode?: (value: Buffer) => unknown
  readonly convert?: NodeTask['convert']
}

export function watchedNode({
  partitions = 1,
  queues = 2,
  everyMs = 50,
  decode = String,
  convert = (event) => event,
}: WatchedNodeOptions = {}) {
  const clock = new VirtualClock()
  const faults = new Faults()
  const events = new MemoryLog(clock, faults)
  const plain = memoryGrid(clock, faults, 64)
  const memory = new MemoryLedger(['store'], queues, faults)
  const lines: string[] = []
  const stdout = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ node: 'node-1', level: 'info', destination: stdout })
  const metrics = new NodeMetrics({ logger, clock })
  const troubles = new Troubles(clock)
  const log = new WatchedEventLog(events.port(partitions), troubles)
  const prefix = `forebay.${scope}.`
  const grid = new WatchedGrid(plain, troubles, { kinds: queueKinds, prefix })
  const membersGrid = new WatchedGrid(plain, troubles, { kinds: oneKind('membership'), prefix })
  const watch = new LedgerWatch(memory, clock, troubles)
  const observer = metrics
  const membership = new Membership({ grid: membersGrid, clock, observer }, { id, scope }, { epoch: 1, http: null, pid: 1, cut: noCut })
  const letters = new LetterTally({ clock, observer, events: () => metrics.total('events') })
  const task: NodeTask = {
    onBuried: (buried) => letters.buried(buried),
    name: 'store',
    everyMs,
    rowsMax: 1000,
    bytesMax: 100_000,
    isTracked: true,
    latestBy: undefined,
    convert,
    encode: (job) => String(job),
    sink: {
      delivery: 'exactly-once',
      label: 'table store',
      encode: String,
      write: async (_, jobs) => void memory.rows.push(...jobs.flatMap((section) => section.lines())),
    },
  }
  const node = new Node(
    { log, grid, ledger: watch, clock, observer, membership },
    {
      ...{ id, scope, secret, partitions, queues, tasks: [task], windowSegmentsMax: 24, lingerMs: 5 },
      onDead: (of, error) => letters.converted(of, error),
      source: { topic: 't', tombstones: 'skip', decode: { decode: (value) => decode(value ?? Buffer.alloc(0)) } },
      ...{ eventBytesMax: 10_000, linesBytesMax: 10_000, key: (event: unknown) => String(event) },
    },
  )
  const ends = new LogEnds()
  const status = () =>
    gatherStatus({
      ...{
        id,
        version: '1',
        pipeline: 'p',
        epoch: 1,
        startedAtMs: 0,
        windowSegmentsMax: 24,
        node,
        membership,
        metrics,
        ends,
        scope,
        ledger: watch,
      },
      ...{
        channels: () => [],
        cron: () => [],
        buffers: () => ({ fetchedBytes: 0, unsentBytes: 0, unflushedBytes: 0, bytes: 0, bytesMax: 1 }),
      },
      ...{ troubles: () => troubleStatuses(troubles, clock), stalls: () => progress.stalls(), nowMs: clock.wallMs(), letters },
    })
  const ledgerFacts = async (): Promise<LedgerFacts> => {
    const fingerprint = { queues, hash: 'h', segmentBytesMax: 1, eventBytesMax: 1, tasks: ['store'], version: '1' }
    const views = await Promise.all(Array.from({ length: partitions }, (_, partition) => memory.read(partition)))
    return {
      ...{ deployment: 'd', nowMs: clock.wallMs(), sessions: [], present: [], cut: null, openLetters: [] },
      epoch: { epoch: 1, reset: 0, version: '1', fingerprint, openedMs: 0, mark: 'aaaa' },
      partitions: new Map(views.map(({ partition, floor, rows }) => [partition, { floor, rows }])),
    }
  }
  const settings = { grid: { secret } } as Parameters<typeof judgeOwn>[0]['settings']
  const sources = { clock, topic: 't', queues, grid: plain, settings, status, ledger: ledgerFacts, others: async () => [] }
  const progress = new ProgressWatch(
    {
      clock,
      observer,
      floors: () => new Map([...node.owners].map(([partition, { part }]) => [partition, part?.floor ?? -1n])),
      range: (partition) => ends.range(partition),
      isShort: (partition) => ends.isShort(partition),
      isHalted: (partition) => node.isHalted(partition),
      judge: (stalled) => judgeOwn(sources, stalled),
    },
    [everyMs],
  )
  const stop = new AbortController()
  const running = Promise.all([
    node.run(stop.signal),
    new TroubleTeller({ troubles, clock, observer }).run(stop.signal),
    ends.run({ log, clock, observer }, () => node.owners, stop.signal),
    progress.run(stop.signal),
    letters.run(stop.signal),
  ])
  running.catch(() => undefined)
  let fed = 0
  return {
    clock,
    faults,
    grid: plain,
    ledger: memory,
    metrics,
    status,
    /** Messages at warn and above, or all with `level`. */
    told: () => lines.map((line) => JSON.parse(line) as { level: string; msg: string }),
    /** Lets `ms` pass, with one event for each partition every `eachMs`. */
    async feed(ms: number, eachMs = 200): Promise<void> {
      for (let passed = 0; passed < ms; passed += eachMs) {
        for (let partition = 0; partition < partitions; partition++) events.add(partition, `event ${fed++}`)
        await clock.pass(Math.min(eachMs, ms - passed))
      }
    },
    add: (partition: number, value: string) => events.add(partition, value),
    async stop(): Promise<void> {
      faults.heal()
      stop.abort()
      await clock.pass(10_000)
      await running
    },
  }
}
