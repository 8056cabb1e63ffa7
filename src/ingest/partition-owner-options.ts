/** What the owner of a partition is made with; its parts take the same. */
import type { EventLog } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { LineKind } from '../grid/segment.ts'
import type { Observer } from '../observer.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import type { TroubleWatch } from '../troubles.ts'
import type { CarefulPorts } from './careful-conversion.ts'

/** What an owner needs of the log. */
export type ReadableLog = Pick<EventLog, 'range' | 'open' | 'eventAt'>

export interface PartitionOwnerPorts {
  readonly log: ReadableLog
  readonly grid: JobGrid
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
  /** Absent: an event that ends its process is not looked for. */
  readonly careful?: CarefulPorts
  /** Told of schemas that cannot be fetched. */
  readonly troubles?: TroubleWatch
}

export interface PartitionOwnerOptions {
  readonly partition: number
  /** Queues of the partition. */
  readonly queues: number
  /** Unique for this life (rule 2). */
  readonly owner: string
  readonly scope: string
  readonly secret: string
  readonly sections: readonly { task: string; kind: LineKind }[]
  readonly linesBytesMax: number
  readonly windowSegmentsMax: number
  /** How long jobs of a slow log wait for company in their segment. */
  readonly lingerMs: number
}

/** How often windows are looked at while they fill up. Each look is a transaction. */
export const hastySettleMs = 50
/** How often a full window is looked at here, without asking anybody. */
export const roomWaitMs = 5
