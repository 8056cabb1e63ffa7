/**
 * The event log as forebay sees it: a topic of partitions, each an append-only
 * sequence of events with strictly increasing, possibly sparse offsets.
 *
 * Offsets are bigints. `lastOffset` is the last offset a reader has passed;
 * `nextOffset` is "resume here". Only `nextOffsetAfter` adds the 1.
 */
import type { EventHeaders } from '../pipeline/event-headers.ts'

/** One record. `value` is null for a tombstone. Buffers belong to the batch and may be kept. */
export interface EventRecord {
  readonly offset: bigint
  readonly timestampMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Decoded when they are asked for. Absent: the record has none. */
  readonly headers?: EventHeaders
  /**
   * Size of a record that is larger than the log was told to hold: `value` is then its beginning, or empty, and a key or headers that
   * large are left out.
   */
  readonly oversizeBytes?: number
  /** The epoch of the leader that took the record in; absent when the log knows no such thing. */
  readonly leaderEpoch?: number
}

/**
 * What one poll brought. `events` may be empty while `lastOffset` still moved:
 * control records, aborted transactions and compaction gaps are passed silently.
 */
export interface EventBatch {
  readonly events: readonly EventRecord[]
  /** The last offset this batch passes; equal to the cursor's previous one when nothing came. */
  readonly lastOffset: bigint
  /** Bytes that its events keep in memory, about; absent when not known. */
  readonly bytes?: number
  /** Of its events, those whose record time was outside of what a time may be and was moved. */
  readonly clampedTimes?: number
  /** The leader epoch at `lastOffset`; absent when nothing was passed, or the log knows no such thing. */
  readonly leaderEpoch?: number
}

/** The offsets a partition holds now: the first available one, and the one the next event will get. */
export interface PartitionRange {
  readonly startOffset: bigint
  readonly endOffset: bigint
}

/** A reading position in one partition. Closed by its owner; never used by two at once. */
export interface EventCursor {
  /**
   * The next events, strictly after everything returned before, or an empty batch after about `waitMs`.
   * Throws FB_EVENT_LOG_UNREACHABLE or FB_EVENT_LOG_FAILED (position kept: poll again), FB_RETENTION_PASSED or FB_LOG_TRUNCATED when the next offset is gone (it never
   * jumps over events), or what no waiting mends: FB_EVENT_LOG_REFUSED, FB_EVENT_LOG_UNREADABLE, FB_EVENT_LOG_UNSUPPORTED.
   */
  poll(waitMs: number): Promise<EventBatch>
  /** Goes on from `nextOffset`, backwards too; a poll under way returns an empty batch or throws, never events of the old position. */
  seek(nextOffset: bigint): void
  close(): Promise<void>
}

/** What a ledger remembers to recognise the same log again (protocol rule 13). */
export interface LogIdentity {
  /** Stable id of the cluster that holds the topic. */
  readonly cluster: string
  /** Stable id of the topic when the log gives one, else null. */
  readonly topicId: string | null
  readonly partitions: number
}

export interface EventLog {
  /** Bytes of fetched events that its cursors hold: those handed out last and those that wait to be. Absent: nothing is known. */
  readonly heldBytes?: number
  /** Throws FB_TOPIC_MISSING. */
  identity(): Promise<LogIdentity>
  range(partition: number): Promise<PartitionRange>
  /** The first offset whose timestamp is at or after `timestampMs`, or the end offset. */
  offsetAt(partition: number, timestampMs: number): Promise<bigint>
  /** The event at exactly `offset`, by one small read; undefined when the log holds none there. */
  eventAt(partition: number, offset: bigint): Promise<EventRecord | undefined>
  /**
   * Under which leader the log took in what lies at `offset`, also where that is no event (a transaction's marker, an aborted record);
   * undefined when it holds nothing there or knows no such thing. Absent: `eventAt` tells.
   */
  leaderEpochAt?(partition: number, offset: bigint): Promise<number | undefined>
  open(partition: number, nextOffset: bigint): Promise<EventCursor>
  /** Age at which events are deleted; null: never by age. Absent: nothing is known. */
  retentionMs?(): Promise<number | null>
  /** Publishes floors for lag tools; a hint that may fail (it is repeated on a timer). */
  commit(floors: ReadonlyMap<number, bigint>): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Where reading resumes after `offset`: the one place that adds 1. */
export function nextOffsetAfter(offset: bigint): bigint {
  return offset + 1n
}

/** The offset just before `nextOffset`: the floor of a log that is to be read from there. */
export function floorBefore(nextOffset: bigint): bigint {
  return nextOffset - 1n
}
