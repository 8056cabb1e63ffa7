/** What `forebay tune` measures: everything the model rests on, and nothing else. Times in milliseconds. */
import type { Quantiles } from './quantiles.ts'

/** How a task's jobs are written: COPY, an upsert of merged rows, or pushed to clients. */
export type FlushMethod = 'copy' | 'merge' | 'push'

/** One step of a series: what something of this size took. */
export interface Sized {
  /** Rows of a flush, or bytes of a segment. */
  readonly size: number
  readonly ms: Quantiles
}

export interface EventMeasurement {
  readonly partitions: number
  /** Mean rate to plan for, over all partitions. */
  readonly perSecond: number
  /** Of the busiest second or few seconds that was seen. */
  readonly peakPerSecond: number
  /** Rate of the tenth of a second in which an event came, as a multiple of the mean; by events, so that bursts count for what they bring. */
  readonly burst: Quantiles
  /** From the time of a record to its arrival here; null when nothing was published while this looked. */
  readonly fetchMs: Quantiles | null
  /** Arrivals with events in one partition, each of one event or more; null when nothing was published while this looked. */
  readonly batchesPerSecond: number | null
  readonly bytesPerEvent: number
  /** Jobs of one event of all tasks, as lines. */
  readonly lineBytesPerEvent: number
  /** Processor time of decoding and converting one event. */
  readonly convertMsPerEvent: number
  /** Events that jobs were measured by. */
  readonly sampled: number
}

export interface TaskMeasurement {
  readonly task: string
  readonly method: FlushMethod
  readonly jobsPerEvent: number
  readonly bytesPerJob: number
  /** Whole flushes by rows, ascending: transaction, watermarks, rows, commit. */
  readonly flushes: readonly Sized[]
  /** How much longer a flush takes while all other tasks flush too; 1: not at all. */
  readonly contention: number
}

export interface GridMeasurement {
  /** From the call to the acknowledgement, backups included, by bytes of a segment. */
  readonly append: readonly Sized[]
  /** From the call of the append until a reader on another connection has the segment. */
  readonly delivery: readonly Sized[]
}

/** What a node's own work costs its process, which does one thing at a time. */
export interface ProcessMeasurement {
  /** Share of a core that this process gets while it wants all of one: less than 1 where others want it too. */
  readonly share: number
  /** Processor time of one segment: encoded, appended, read and decoded. */
  readonly msPerSegment: number
  /** Processor time of one small flush. */
  readonly msPerFlush: number
}

export interface Measurements {
  readonly events: EventMeasurement
  readonly tasks: readonly TaskMeasurement[]
  readonly grid: GridMeasurement
  /** How late timers of the event loop fire. */
  readonly timerLateMs: Quantiles
  readonly process: ProcessMeasurement
}
