/**
 * What is known of a pipeline from outside, gathered from its servers and nodes; the input of every judgement in this room.
 * Times are wall-clock milliseconds.
 */
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type { PartitionRange } from '../events/event-log.ts'
import type { NodeStatus } from '../status/status.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'

/** What looking somewhere gave, or the sentence that says why it gave nothing. */
export type Look<T> = { readonly found: T } | { readonly away: string }

/** A node that was asked, or that others know of. */
export interface NodeFacts {
  /** Name and life, such as `node-1.3fa2c1`; null while only its address is known. */
  readonly id: string | null
  readonly url: string | null
  readonly pid: number | null
  readonly status: NodeStatus | null
  /** Why there is no status: nothing listens, or something listens and says nothing. */
  readonly silence: 'refused' | 'silent' | 'locked' | null
  /** Whether the process is stopped (SIGSTOP); null when that cannot be seen from here. */
  readonly isSuspended: boolean | null
  /** Whether its entry in the grid still changes; null when it has none or the grid was not reached. */
  readonly isBeating: boolean | null
  /** The epoch it said it works in. */
  readonly epoch: number | null
}

export interface EpochFacts {
  readonly epoch: number
  readonly reset: number
  readonly version: string
  readonly fingerprint: Fingerprint
  readonly openedMs: number
  readonly mark: string
}

/** A connection of the database that belongs to forebay or stands in its way. */
export interface SessionFacts {
  readonly pid: number
  readonly application: string
  readonly user: string
  readonly client: string | null
  readonly state: string
  /** Such as `Lock: transactionid`; null when it waits for nothing. */
  readonly waitsFor: string | null
  /** Age of its transaction and of its statement. */
  readonly transactionMs: number | null
  readonly statementMs: number | null
  readonly query: string
  readonly blockedBy: readonly number[]
}

/** What a node last told the database of itself. */
export interface PresenceFacts {
  readonly node: string
  readonly epoch: number | null
  /** Why it owns nothing as yet; null while it works. */
  readonly waitsFor: string | null
  readonly http: string | null
  readonly ageMs: number
}

export interface LetterFacts {
  readonly id: string
  readonly offset: bigint
  readonly queue: number
  readonly ordinal: number
  readonly task: string | null
  readonly error: string
  readonly createdMs: number
  readonly attempts: number
  /** How it was settled since; null while it is open. */
  readonly resolution: 'redriven' | 'discarded' | null
}

/** Dead letters that nobody has settled yet. */
export interface OpenLetters {
  /** Null: whole events. */
  readonly task: string | null
  /** Counted up to 100,000. */
  readonly count: number
  /** Of the oldest: `partition/offset`, and what it says. */
  readonly firstAt: string
  readonly firstError: string
}

export interface PartitionLedger {
  readonly floor: bigint
  /** Watermark rows by task, indexed by queue. */
  readonly rows: ReadonlyMap<string, readonly bigint[]>
}

export interface LedgerFacts {
  readonly deployment: string
  readonly nowMs: number
  /** Null before the pipeline's first start. */
  readonly epoch: EpochFacts | null
  readonly partitions: ReadonlyMap<number, PartitionLedger>
  readonly sessions: readonly SessionFacts[]
  /** Nodes that told of themselves within the last minute. */
  readonly present: readonly PresenceFacts[]
  /** A command that has asked all nodes to stop reading and drain; null when none has. */
  readonly cut: { readonly purpose: string; readonly requestedBy: string } | null
  readonly openLetters: readonly OpenLetters[]
}

/** What one task makes of an event. */
export interface EventJobs {
  readonly task: string
  readonly jobs: number
  /** Why it becomes a dead letter instead; null for jobs. */
  readonly error: string | null
}

/** One event of the log, as the pipeline converts it. */
export interface EventFacts {
  readonly offset: bigint
  readonly timestampMs: number
  readonly key: string | null
  readonly queue: number
  readonly jobs: readonly EventJobs[]
}

/** Head of a segment that a ring holds. */
export interface SegmentFacts {
  readonly sequence: bigint
  readonly lo: bigint
  readonly hi: bigint
  readonly owner: string
  readonly repair: number
}

export interface RingFacts {
  readonly queue: number
  readonly tail: SegmentFacts | null
  /** The segment with the job that is asked about; null when the ring does not hold it. */
  readonly holding: SegmentFacts | null
}

export interface GridFacts {
  readonly rings: readonly RingFacts[]
  /** Stamps by `p0.q1`: queues whose loss is flagged for a repair. */
  readonly flags: ReadonlyMap<string, string>
}

/** Everything `explain` judges by. */
export interface ExplainFacts {
  readonly nowMs: number
  readonly pipeline: string
  readonly topic: string
  readonly partition: number
  /** The offset asked about; null: whatever holds the floor. */
  readonly asked: bigint | null
  /** The event at that offset; null when the log was not read or holds none there. */
  readonly askedEvent: EventFacts | null
  /** How the configuration at hand differs from the active epoch, a sentence each. */
  readonly differences: readonly string[]
  readonly ledger: Look<LedgerFacts>
  /** Dead letters at the asked or the pending offset. */
  readonly letters: readonly LetterFacts[]
  readonly range: Look<PartitionRange>
  /** The first event above the floor with a job that is not applied; null when there is none. */
  readonly pending: Look<EventFacts | null>
  /** Null: the grid is inside the node. */
  readonly grid: Look<GridFacts> | null
  readonly nodes: readonly NodeFacts[]
}

/** What a look found, or undefined. */
export function foundOf<T>(look: Look<T> | null): T | undefined {
  return look !== null && 'found' in look ? look.found : undefined
}

/** Why a look found nothing, or undefined. */
export function awayOf<T>(look: Look<T> | null): string | undefined {
  return look !== null && 'away' in look ? look.away : undefined
}

export interface InspectedPipeline {
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  readonly tasks: readonly TaskDefinition[]
  /** What a node of this configuration would have. */
  readonly fingerprint: Fingerprint
  readonly urls: readonly string[]
  /** Process ids by address, where the launcher of this machine tells them. */
  readonly pids: ReadonlyMap<string, number>
}
