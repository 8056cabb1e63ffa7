/**
 * The book of cron runs, shared by all nodes (a port): which scheduled times are decided, who runs one, and how it went.
 *
 * A scheduled time is *begun* (an attempt is written down, so that a run that kills its node is seen), then *run*: the work,
 * the outcome and the word that this time is decided are committed in one transaction. While it is open nobody else can begin
 * or run that task. Whoever held it and died loses it with its connection.
 */
import type { Sql } from '../database/sql.ts'

export interface CronSchedule {
  readonly task: string
  readonly expression: string
  readonly timezone: string
}

export type CronOutcome = 'running' | 'retrying' | 'succeeded' | 'failed' | 'skipped'

/** A scheduled time that was begun and is not decided. */
export interface OpenRun {
  readonly scheduledMs: number
  readonly outcome: 'running' | 'retrying'
  readonly attempts: number
  readonly node: string
  /** How long until another attempt is allowed, by the database's clock; 0: now. */
  readonly waitMs: number
}

export interface CronState {
  /** Every scheduled time at or before it is decided. */
  readonly doneToMs: number
  /** What the book's own clock shows. */
  readonly nowMs: number
  readonly open: OpenRun | undefined
  /** Another node wrote another expression or time zone for this task. */
  readonly isSuperseded: boolean
}

/** What a node wants to do, given the state it saw. */
export interface CronPlan {
  readonly skipped: readonly number[]
  /** The time to run, or undefined when there is only something to skip. */
  readonly run: number | undefined
}

/** The right to run one attempt. */
export interface CronClaim {
  readonly task: string
  readonly scheduledMs: number
  readonly attempt: number
}

export interface CronWork {
  readonly timeoutMs: number
  /** Runs at most this many times. */
  readonly attemptsMax: number
  /** How long after this attempt's failure the next may begin. */
  readonly retryMs: number
  /** Its failure rolls its statements back. `signal` aborts at the timeout. */
  run(sql: Sql, signal: AbortSignal): Promise<void>
}

/** What came of the wish to begin. */
export type CronBeginning = CronClaim | 'skipped' | 'given-up' | undefined

/** How an attempt went; `lost`: another node had taken it over, and nothing of this attempt counts. */
export type CronResult =
  | { readonly outcome: 'succeeded' }
  | { readonly outcome: 'retrying' | 'failed'; readonly error: string }
  | { readonly outcome: 'lost' }

/** One line of the history. */
export interface CronRun {
  readonly task: string
  readonly scheduledMs: number
  readonly outcome: CronOutcome
  readonly attempts: number
  readonly node: string
  readonly startedMs: number | null
  readonly endedMs: number | null
  readonly error: string | null
}

/** Failures: FB_DATABASE_UNREACHABLE, FB_SCHEMA. */
export interface CronRuns {
  /** Makes the task known. A task that is new, or whose schedule changed, begins after `nowMs`, or after now
   * by the book's clock if that is earlier. */
  open(schedule: CronSchedule, nowMs: number): Promise<void>
  read(schedule: CronSchedule): Promise<CronState>
  /**
   * Writes down what `plan` skips and the attempt it begins. Undefined when there is nothing to run: also when another node
   * is at the task, or the state is no longer `seen`. `skipped` when it only wrote down what is skipped, `given-up` when the nodes of
   * all attempts died in the middle.
   */
  begin(schedule: CronSchedule, seen: CronState, plan: CronPlan, attemptsMax: number): Promise<CronBeginning>
  execute(claim: CronClaim, work: CronWork): Promise<CronResult>
  /** The latest `countMax` runs of each task, latest first; behind them the latest that succeeded, if it is older. */
  history(countMax: number): Promise<CronRun[]>
}
