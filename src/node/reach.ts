/**
 * What this node cannot reach, so that others take over the work that needs it (rule 22).
 *
 * Job: hears the outcome of every call to the ledger, and of every poll of a partition. What has failed for `cutAfterMs` without
 * one success is *cut*; a partition, or the whole log when all partitions that the node reads fail, or the database. While
 * something is cut the node asks for it once a second, and an answer ends the cut: after `holdMs` at the soonest, which doubles when
 * the same line fails again soon, so that a line that comes and goes does not move the work with it.
 *
 * Where a server is away for everybody nothing should move: nodes would pass the work on to each other, each a moment later than
 * the one before. So a node also tells what it *doubts*, much sooner and for a while after it is well again; and nobody takes work from
 * a node that is cut unless somebody is without a doubt.
 *
 * Boundary: it decides nothing about others. Every node tells its cut in its entry of the membership, and `shareOf` gives work to
 * nodes that reach what it needs, or to all where none does. Safety rests on the ledger alone.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import type { EventCursor } from '../events/event-log.ts'
import type { ReadableLog } from '../ingest/partition-owner-options.ts'
import type { Observer } from '../observer.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import { hasAnswered } from './ledger-watch.ts'

/** What a node cannot reach. `partitions` are the ones it cannot read although it reaches others. */
export interface Cut {
  readonly log: boolean
  readonly database: boolean
  readonly partitions: readonly number[]
  /** What it may not reach: it fails since a moment, or has come back a moment ago. */
  readonly doubts: { readonly log: boolean; readonly database: boolean }
}

export const noCut: Cut = { log: false, database: false, partitions: [], doubts: { log: false, database: false } }

export interface ReachPorts {
  readonly log: ReadableLog
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
}

/** Longer than the restart of a server, or its work would move to nodes that do not reach it either. */
const cutAfterMs = 5000
/** A call without any answer may yet be a slow one. */
const silentAfterMs = 10_000
/** What fails for so long, or has had no answer for so long, is doubted; and what was is doubted for a while longer. */
const doubtAfterMs = 1000
const silentDoubtMs = 2000
const doubtLastsMs = 5000
const standstillMs = 2000
const probeMs = 1000
/** So many cut partitions are asked for at once. */
const probesMax = 8
const holdFirstMs = 5000
const holdLastMs = 300_000
/** A line that fails again within this time after its cut ended is held longer. */
const relapseMs = 60_000

/** A login or a right that one node lacks alone is a cut, too. */
const logAway: readonly ErrorCode[] = ['FB_EVENT_LOG_UNREACHABLE', 'FB_EVENT_LOG_FAILED', 'FB_EVENT_LOG_LOGIN', 'FB_EVENT_LOG_REFUSED']
const databaseAway: readonly ErrorCode[] = ['FB_DATABASE_UNREACHABLE', 'FB_DATABASE_TLS', 'FB_DATABASE_FULL', 'FB_DATABASE_REFUSED']

export class Reach {
  /** The log, heard. */
  readonly log: ReadableLog
  /** The ledger, heard. */
  readonly ledger: Ledger
  readonly #ports: ReachPorts
  readonly #database = new Line()
  readonly #partitions = new Map<number, Line>()
  #isLogCut = false
  #cut = noCut
  #lookedMs = 0

  constructor(ports: ReachPorts) {
    this.#ports = ports
    const { log, ledger } = ports
    this.log = {
      range: (partition) => this.#hearPartition(partition, () => log.range(partition), false),
      eventAt: (partition, offset) => this.#hearPartition(partition, () => log.eventAt(partition, offset), false),
      open: async (partition, nextOffset) => this.#heard(partition, await log.open(partition, nextOffset)),
    }
    this.ledger = {
      read: (partition) => this.#hearDatabase(() => ledger.read(partition)),
      readAll: (partitions) => this.#hearDatabase(() => ledger.readAll(partitions)),
      settle: (capture) => this.#hearDatabase(() => ledger.settle(capture)),
      halt: (halt) => this.#hearDatabase(() => ledger.halt(halt)),
      // How long a flush takes is the sink's, too.
      flush: (flush) => this.#hearDatabase(() => ledger.flush(flush), false),
    }
  }

  /** What is cut, as of the last `look`; the same object while nothing changes. */
  get cut(): Cut {
    return this.#cut
  }

  /** Decides what is cut now; `owned` are the partitions that this node reads. */
  look(owned: Iterable<number>): Cut {
    const nowMs = this.#nowMs
    // Time in which this node stood still itself says nothing about the others.
    if (nowMs - this.#lookedMs > standstillMs) for (const line of [this.#database, ...this.#partitions.values()]) line.startOver(nowMs)
    this.#lookedMs = nowMs
    this.#database.look(nowMs)
    const mine = new Set(owned)
    const lines = [...mine].map((partition) => this.#line(partition))
    // What another node reads meanwhile says nothing about this one.
    for (const [partition, line] of this.#partitions) if (!mine.has(partition)) line.rest()
    const isSilent = lines.length > 0 && lines.every((line) => line.isFailing(nowMs))
    if (isSilent && lines.some((line) => line.isDue(nowMs))) {
      this.#isLogCut = true
      for (const line of lines) line.cut(nowMs)
    }
    for (const line of lines) line.look(nowMs)
    const partitions = [...this.#partitions].flatMap(([partition, line]) => (line.isCut ? [partition] : [])).toSorted((a, b) => a - b)
    if (partitions.length === 0) this.#isLogCut = false
    const doubts = { log: lines.some((line) => line.isDoubtful(nowMs)), database: this.#database.isDoubtful(nowMs) }
    const cut = { log: this.#isLogCut, database: this.#database.isCut, partitions: this.#isLogCut ? [] : partitions, doubts }
    if (JSON.stringify(cut) !== JSON.stringify(this.#cut)) this.#change(cut)
    return this.#cut
  }

  /** Asks for what is cut until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, ledger } = this.#ports
    while (!signal.aborted) {
      await clock.sleep(probeMs, signal)
      const cut = [...this.#partitions].filter(([, line]) => line.isCut).slice(0, probesMax)
      const probes = cut.map(([partition, line]) => {
        // The next turn asks for others first.
        this.#partitions.delete(partition)
        this.#partitions.set(partition, line)
        return quietly(() => this.#hearPartition(partition, () => log.range(partition), true))
      })
      if (this.#database.isCut) probes.push(quietly(() => this.#hearDatabase(() => ledger.read(0))))
      await Promise.all(probes)
    }
  }

  #change(cut: Cut): void {
    const { observer } = this.#ports
    const was = whatIsCut(this.#cut)
    const is = whatIsCut(cut)
    this.#cut = cut
    if (is === was) return
    if (is === undefined) observer.log('info', `this node reaches ${was} again and takes its share`)
    else
      observer.log('warn', `this node has not reached ${is} for ${cutAfterMs / 1000} s: other nodes take over what needs it, if they do`, {
        cut,
      })
  }

  #line(partition: number): Line {
    let line = this.#partitions.get(partition)
    if (line === undefined) this.#partitions.set(partition, (line = new Line()))
    return line
  }

  #heard(partition: number, cursor: EventCursor): EventCursor {
    return {
      poll: (waitMs) => this.#hearPartition(partition, () => cursor.poll(waitMs), true),
      seek: (nextOffset) => cursor.seek(nextOffset),
      close: () => cursor.close(),
    }
  }

  /** `isProof`: an answer shows that the partition can be read. */
  async #hearPartition<T>(partition: number, call: () => Promise<T>, isProof: boolean): Promise<T> {
    const line = this.#line(partition)
    const asked = line.ask(this.#nowMs)
    try {
      const answer = await call()
      if (isProof) this.#reached(line)
      return answer
    } catch (error) {
      if (isForebayError(error) && logAway.includes(error.code)) line.fail(asked)
      throw error
    } finally {
      line.settle(asked)
    }
  }

  /** The way to the log is open again: each of its partitions shows for itself whether it can be read. */
  #reached(line: Line): void {
    const wasCut = line.isCut
    line.succeed(this.#nowMs)
    if (wasCut && !line.isCut && this.#isLogCut) for (const other of this.#partitions.values()) other.end(this.#nowMs)
  }

  async #hearDatabase<T>(call: () => Promise<T>, isQuick = true): Promise<T> {
    const line = this.#database
    const asked = isQuick ? line.ask(this.#nowMs) : { sinceMs: this.#nowMs }
    try {
      const answer = await call()
      line.succeed(this.#nowMs)
      return answer
    } catch (error) {
      if (!isForebayError(error) || !databaseAway.includes(error.code) || hasAnswered(error)) line.succeed(this.#nowMs)
      else line.fail(asked)
      throw error
    } finally {
      line.settle(asked)
    }
  }

  get #nowMs(): number {
    return this.#ports.clock.now()
  }
}

interface Asked {
  readonly sinceMs: number
}

/** One way to something: *fine*, *failing* since a moment, or *cut*. */
class Line {
  /** Calls without an answer yet, the oldest first. */
  readonly #asked = new Set<Asked>()
  #answeredMs = -Infinity
  #failingSinceMs: number | undefined
  #cutSinceMs: number | undefined
  #endedMs = -Infinity
  #holdMs = holdFirstMs
  #recoveredMs = -Infinity

  get isCut(): boolean {
    return this.#cutSinceMs !== undefined
  }

  /** Nothing has come through since the last call that failed, or that has had no answer for long. */
  isFailing(nowMs: number): boolean {
    return this.#failingSinceMs !== undefined || this.#isSilent(nowMs)
  }

  /** It has failed for so long that it counts as cut. */
  isDue(nowMs: number): boolean {
    return this.#hasFailedFor(cutAfterMs, nowMs) || this.#isSilent(nowMs)
  }

  isDoubtful(nowMs: number): boolean {
    return this.#hasFailedFor(doubtAfterMs, nowMs) || this.#isSilent(nowMs, silentDoubtMs) || nowMs - this.#recoveredMs < doubtLastsMs
  }

  ask(nowMs: number): Asked {
    const asked = { sinceMs: nowMs }
    this.#asked.add(asked)
    return asked
  }

  settle(asked: Asked): void {
    this.#asked.delete(asked)
  }

  fail({ sinceMs }: Asked): void {
    this.#failingSinceMs ??= Math.max(sinceMs, this.#answeredMs)
  }

  succeed(nowMs: number): void {
    if (this.isCut || this.#hasFailedFor(doubtAfterMs, nowMs) || this.#isSilent(nowMs, silentDoubtMs)) this.#recoveredMs = nowMs
    this.#answeredMs = nowMs
    this.#failingSinceMs = undefined
    if (this.#cutSinceMs !== undefined && nowMs - this.#cutSinceMs >= this.#holdMs) this.end(nowMs)
  }

  /** Nothing is asked for at present. */
  rest(): void {
    if (this.#cutSinceMs === undefined) this.#failingSinceMs = undefined
  }

  startOver(nowMs: number): void {
    this.#answeredMs = nowMs
    if (this.#failingSinceMs !== undefined) this.#failingSinceMs = nowMs
  }

  look(nowMs: number): void {
    if (this.isDue(nowMs)) this.cut(nowMs)
  }

  cut(nowMs: number): void {
    if (this.#cutSinceMs !== undefined) return
    this.#cutSinceMs = nowMs
    const isRelapse = nowMs - this.#endedMs < relapseMs
    this.#holdMs = isRelapse ? Math.min(this.#holdMs * 2, holdLastMs) : holdFirstMs
  }

  end(nowMs: number): void {
    if (this.#cutSinceMs === undefined) return
    this.#cutSinceMs = this.#failingSinceMs = undefined
    this.#endedMs = nowMs
  }

  #hasFailedFor(ms: number, nowMs: number): boolean {
    return this.#failingSinceMs !== undefined && nowMs - this.#failingSinceMs >= ms
  }

  #isSilent(nowMs: number, afterMs = silentAfterMs): boolean {
    const [oldest] = this.#asked
    return oldest !== undefined && nowMs - Math.max(oldest.sinceMs, this.#answeredMs) >= afterMs
  }
}

function whatIsCut({ log, database, partitions }: Cut): string | undefined {
  const some = partitions.length === 1 ? `partition ${partitions[0]}` : `partitions ${partitions.join(', ')}`
  const things = [...(log ? ['the event log'] : []), ...(database ? ['the database'] : []), ...(partitions.length > 0 ? [some] : [])]
  return things.length === 0 ? undefined : things.join(' and ')
}

async function quietly(call: () => Promise<unknown>): Promise<void> {
  try {
    await call()
  } catch (error) {
    // The line has heard it; what is no failure of a port is a bug.
    if (!isForebayError(error)) throw new Error(`asking for what is cut failed: ${sentenceOf(error)}`, { cause: error })
  }
}
