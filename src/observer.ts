/**
 * What the core tells about itself while it works: plain counts and measured values. A node turns them into metrics,
 * a simulation asserts that each thing really happened. Calls must be cheap: they sit on the hot path, once a batch.
 */
export const counterNames = {
  events: 'events polled from the log',
  jobs: 'jobs made from events',
  tombstones: 'events without a value that were skipped',
  clampedTimes: 'events whose record time was moved into the years 1970 to 9999',
  segments: 'segments appended to the grid',
  segmentBytes: 'bytes of segments appended to the grid',
  heartbeats: 'tail heartbeats appended to the grid',
  appendRetries: 'appends that failed and were sent again',
  windowFull: 'times a full window stopped the reading of a partition',
  repairs: 'repairs of queues from the event log',
  halts: 'times a partition was halted',
  overlaps: 'segments of which a reader took only a part',
  skips: 'segments that brought a reader nothing new',
  gaps: 'gaps seen by readers',
  flags: 'flags raised for a repair',
  foreign: 'foreign or damaged segments dropped',
  forgets: 'times a reader forgot its memory and read the watermarks again',
  flushes: 'flushes committed',
  rows: 'jobs written by committed flushes',
  fences: 'flushes stopped by the compare-and-set',
  flushErrors: 'flushes that failed',
  deadLetters: 'dead letters written of jobs, by task',
  deadEvents: 'dead letters written of whole events',
  stalls: 'times floors stood although the log held more, by cause',
  troubles: 'times calls of one kind did not get through for 5 seconds',
} as const

export type CounterName = keyof typeof counterNames

export const valueNames = {
  tickSlipMs: 'how late a cadence tick came, in milliseconds',
  flushMs: 'duration of a flush, in milliseconds',
  convertMs: 'how long decode, key and convert took for up to 512 events at once, in milliseconds',
} as const

export type ValueName = keyof typeof valueNames

export interface Observer {
  /** `label` is a task, or a partition, where one is at hand. */
  count(name: CounterName, by: number, label?: string): void
  value(name: ValueName, value: number, label?: string): void
  /** `count` events whose record time was `recordTimeMs` (wall clock) are committed now for `task`. */
  committed(task: string, recordTimeMs: number, count: number): void
  /** Something an operator should read. `level` is pino's. */
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** For commands, which tell nothing of their work this way. */
export const silent: Observer = { count: ignore, value: ignore, committed: ignore, log: ignore }

function ignore(): void {}
