/**
 * Checks the clocks behind the event log: first the facts, then a pure judgement.
 *
 * Kafka has no call that tells a broker's clock, and only a broker that stamps events itself (LogAppendTime) would show it, in
 * events that somebody writes. So the events that are there are compared with the clock here: one whose time has not come yet was stamped by
 * a clock that is ahead, a producer's or a broker's. A clock that is behind looks like an event that waited, and cannot be told.
 */
import type { EventLog } from '../events/event-log.ts'
import { spanText } from '../text/time-text.ts'
import type { Finding } from './finding.ts'
import { ok, warn } from './finding.ts'

/** The first event of a partition whose time has not come yet. */
export interface FutureEvent {
  readonly partition: number
  readonly offset: bigint
  /** How far its time is ahead; null when the event itself could not be read. */
  readonly aheadMs: number | null
}

const aheadMaxMs = 2000

/** One search by time for each of the partitions below `partitions`; no event is read unless it is found. Throws what the log throws. */
export async function readFutureEvents(log: EventLog, partitions: number, nowMs: number): Promise<FutureEvent[]> {
  const numbers = Array.from({ length: partitions }, (_, partition) => partition)
  const found = await Promise.all(numbers.map((partition) => futureEvent(log, partition, nowMs)))
  return found.filter((event) => event !== undefined)
}

async function futureEvent(log: EventLog, partition: number, nowMs: number): Promise<FutureEvent | undefined> {
  // The end first: a search that finds nothing gives the end of its own moment, which is the same or later.
  const { endOffset } = await log.range(partition)
  const offset = await log.offsetAt(partition, nowMs + aheadMaxMs)
  if (offset >= endOffset) return undefined
  const event = await log.eventAt(partition, offset)
  return { partition, offset, aheadMs: event === undefined ? null : event.timestampMs - nowMs }
}

/** Pure. */
export function judgeFutureEvents(topic: string, events: readonly FutureEvent[]): Finding[] {
  const [furthest] = events.toSorted((a, b) => (b.aheadMs ?? 0) - (a.aheadMs ?? 0))
  if (furthest === undefined) return [ok('event log', `no event of topic ${topic} is from the future by the clock here`)]
  const { partition, offset, aheadMs } = furthest
  const others = events.length === 1 ? '' : ` (${events.length} partitions have such events)`
  return [
    warn(
      'event log',
      `the event ${topic}/${partition}@${offset} is ${spanText(aheadMs ?? aheadMaxMs)} in the future by the clock here${others}`,
      'nothing is lost by it, but latencies are told wrong, replays by time miss events, and retention by age keeps them longer',
      'let this machine and those that stamp events follow NTP: the producers, or the brokers with message.timestamp.type LogAppendTime',
    ),
  ]
}
