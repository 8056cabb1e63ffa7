/**
 * Which offsets of each partition a replay covers. A range never goes beyond the floor read at its start: rows above it may still
 * be on their way and would be taken for missing.
 */
import { ForebayError } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { EventLog } from '../events/event-log.ts'
import type { ReplayPoint } from './replay-point.ts'

export interface RangeRequest {
  readonly from: ReplayPoint
  /** Exclusive; undefined: up to the floor. */
  readonly to: ReplayPoint | undefined
  /** Undefined: every partition. */
  readonly partition: number | undefined
}

/** The offsets from `firstOffset` to `lastOffset`, both included; none when the last is below the first. */
export interface ReplayRange {
  readonly partition: number
  readonly firstOffset: bigint
  readonly lastOffset: bigint
  /** The floor when the range was resolved. */
  readonly floor: bigint
  /** The request went beyond the floor. */
  readonly isCut: boolean
}

/** What is known of one partition when its range is worked out. */
interface PartitionFacts {
  readonly partition: number
  readonly startOffset: bigint
  readonly floor: bigint
  /** Offsets of the times that the request names. */
  readonly fromOffset: bigint | undefined
  readonly toOffset: bigint | undefined
}

/** Throws FB_USAGE when an offset comes without its partition, or the end lies before the beginning. */
export function checkRequest({ from, to, partition }: RangeRequest): void {
  const hasOffset = from.kind === 'offset' || to?.kind === 'offset'
  if (hasOffset && partition === undefined)
    throw new ForebayError('FB_USAGE', 'an offset belongs to one partition: name it with --partition, or give a time')
  const isReversed =
    (from.kind === 'offset' && to?.kind === 'offset' && to.offset < from.offset) ||
    (from.kind === 'time' && to?.kind === 'time' && to.timeMs < from.timeMs)
  if (isReversed) throw new ForebayError('FB_USAGE', '--to lies before --from; the range begins at --from and ends before --to')
}

/** Throws FB_RETENTION_PASSED when the range begins at an offset that the log no longer holds. */
export function rangeOf(request: RangeRequest, facts: PartitionFacts): ReplayRange {
  const { partition, startOffset, floor } = facts
  const end = nextOffsetAfter(floor)
  const wantedEnd = request.to === undefined ? end : offsetOf(request.to, facts, facts.toOffset)
  const firstOffset = offsetOf(request.from, facts, facts.fromOffset)
  if (firstOffset < startOffset && request.from.kind === 'offset') {
    throw new ForebayError(
      'FB_RETENTION_PASSED',
      `partition ${partition} begins at offset ${startOffset}: offset ${firstOffset} is gone from the log; begin with --from ${startOffset}, or --from earliest`,
    )
  }
  const first = firstOffset < startOffset ? startOffset : firstOffset
  const until = wantedEnd < end ? wantedEnd : end
  return { partition, firstOffset: first, lastOffset: until < first ? first - 1n : until - 1n, floor, isCut: wantedEnd > end }
}

function offsetOf(point: ReplayPoint, { startOffset, floor }: PartitionFacts, found: bigint | undefined): bigint {
  switch (point.kind) {
    case 'earliest':
      return startOffset
    case 'committed':
      return nextOffsetAfter(floor)
    case 'offset':
      return point.offset
    case 'time':
      return found ?? startOffset
  }
}

/**
 * Works the ranges out from the log and the floors, which were read before.
 * Throws FB_USAGE for a partition the topic does not have, and what the log throws.
 */
export async function resolveRanges(log: EventLog, floors: ReadonlyMap<number, bigint>, request: RangeRequest): Promise<ReplayRange[]> {
  checkRequest(request)
  const { partition: only } = request
  if (only !== undefined && !floors.has(only))
    throw new ForebayError('FB_USAGE', `there is no partition ${only}; they are numbered 0 to ${floors.size - 1}`)
  const ranges: ReplayRange[] = []
  for (const [partition, floor] of [...floors].toSorted(([a], [b]) => a - b)) {
    if (only !== undefined && partition !== only) continue
    const { startOffset } = await log.range(partition)
    const fromOffset = await timeOffset(log, partition, request.from)
    const toOffset = await timeOffset(log, partition, request.to)
    ranges.push(rangeOf(request, { partition, startOffset, floor, fromOffset, toOffset }))
  }
  return ranges
}

async function timeOffset(log: EventLog, partition: number, point: ReplayPoint | undefined): Promise<bigint | undefined> {
  return point?.kind === 'time' ? log.offsetAt(partition, point.timeMs) : undefined
}

export function offsetCount({ firstOffset, lastOffset }: Pick<ReplayRange, 'firstOffset' | 'lastOffset'>): number {
  return Number(lastOffset - firstOffset + 1n)
}

/** The part of `range` above `beganAt`: what lies below was never applied by the pipeline as it is now. */
export function sinceBeginning(range: ReplayRange, beganAt: bigint | undefined): ReplayRange {
  if (beganAt === undefined || range.firstOffset > beganAt) return range
  const firstOffset = nextOffsetAfter(beganAt)
  return { ...range, firstOffset, lastOffset: range.lastOffset < firstOffset ? beganAt : range.lastOffset }
}
