/**
 * The dead letters of a pipeline (a port): events and jobs that could not be processed, and what became of them.
 *
 * A letter is *open* until it is *redriven* or *discarded*; then it stays for `database.resolvedLettersKept`, so that the ledger
 * knows it again and people can look it up (resolved-letters.ts says when it may go).
 */
import type { LedgerTransaction } from '../ledger/ledger.ts'

export interface DeadLetterRow {
  /** Decimal digits. */
  readonly id: string
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly ordinal: number
  /** Null when the whole event is at fault. */
  readonly task: string | null
  /** It is one job, whose line is the payload; else all jobs of its event, whose value is the payload. */
  readonly isJob: boolean
  readonly error: string
  readonly payload: Buffer | null
  readonly isPayloadCut: boolean
  readonly createdAt: Date
  /** How often it was tried: 1, and 1 for each redrive that failed. */
  readonly attempts: number
  readonly resolvedAt: Date | null
  readonly resolution: 'redriven' | 'discarded' | null
  readonly reason: string | null
  /** Its event's record time; null in a letter of an older release. */
  readonly eventTimeMs: number | null
  /** The W3C trace its event was written under; null when it had none, or a job's letter does not know it. */
  readonly traceparent: string | null
}

/** All that is said must hold; nothing said: every letter of the pipeline. */
export interface DeadLetterFilter {
  readonly ids?: readonly string[] | undefined
  /** Letters of this task; null: of whole events. */
  readonly task?: string | null | undefined
  /** Part of the error, in any case. */
  readonly error?: string | undefined
  /** When the letter was made. */
  readonly from?: Date | undefined
  readonly to?: Date | undefined
  readonly partition?: number | undefined
  readonly offset?: bigint | undefined
  readonly isOpenOnly: boolean
}

/** Failures: FB_DATABASE_UNREACHABLE, FB_SCHEMA. */
export interface DeadLetters<Tx extends LedgerTransaction = LedgerTransaction> {
  count(filter: DeadLetterFilter): Promise<number>
  /** Ids of the first `countMax`, in the order of the log. */
  ids(filter: DeadLetterFilter, countMax: number): Promise<readonly string[]>
  /** The letters themselves, in the order of the log; as many as are asked for are in memory. */
  read(ids: readonly string[]): Promise<readonly DeadLetterRow[]>
  /**
   * In one transaction takes the open letter, runs `write` and notes it as redriven. Resolves to false when the letter is no longer
   * open or another redrive is at it. What `write` throws rolls all of it back and is thrown. `isDry`: rolls back in any case.
   */
  redrive(id: string, write: (transaction: Tx) => Promise<void>, isDry: boolean): Promise<boolean>
  /** Notes that a redrive failed; an open letter only. */
  fail(id: string, error: string): Promise<void>
  /** Resolves to the number of letters that were open until now. */
  discard(ids: readonly string[], reason: string): Promise<number>
}
