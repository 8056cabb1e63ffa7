/**
 * What goes wrong in one schedule, and how often. Each seed draws its own mix (some faults off, some frequent), so that
 * rare combinations meet. Every fault that happens is counted.
 */
import type { PortName } from './scheduler.ts'
import type { Random } from './random.ts'

/** Chances of one call: it fails without effect, it fails although it had its effect, its answer comes late. */
export interface CallRates {
  before: number
  after: number
  late: number
}

/** Chance of each happening per step. */
export const happenings = [
  'crash',
  'stop',
  'pause',
  'slow',
  'cutPort',
  'failover',
  'schemaTrouble',
  'upgrade',
  'retention',
  'retentionPast',
  'truncation',
  'logRefusal',
  'foreignCommit',
  'falseDeath',
  'ringLoss',
  'gridLoss',
  'tailLoss',
  'headLoss',
  'entryLoss',
  'duplicate',
  'overwrite',
  'foreignEntry',
  'mapLoss',
  'mapEntryLoss',
  'disturbance',
  'drain',
  'routingCut',
  'reset',
] as const
export type Happening = (typeof happenings)[number]

export type FaultName =
  | Happening
  | 'cut'
  | 'tasks'
  | 'forgottenEpoch'
  | 'lastingCut'
  | 'lingering'
  | 'badJob'
  | 'killed'
  | 'innocentDeath'
  | 'databaseFull'
  | 'deadlock'
  | 'clamp'
  | 'commitUnknownApplied'
  | 'commitUnknownLost'
  | 'staleBatch'
  | `${'log' | 'grid' | 'ledger' | 'sink'}${'Before' | 'After' | 'Late'}`

/** What takes something away that was written: only after these may a repair be needed (L2). */
export const losses: readonly FaultName[] = ['failover', 'ringLoss', 'gridLoss', 'tailLoss', 'headLoss', 'entryLoss', 'overwrite']

const none: CallRates = { before: 0, after: 0, late: 0 }

export class Faults {
  readonly random: Random
  readonly counts = new Map<FaultName, number>()
  total = 0
  /** No fault happens any more. */
  isQuiet = false
  /** Reads of the grid give fewer entries than there are now and then, which is no fault. */
  hasShortReads = true
  readonly #rates = new Map<PortName, CallRates>()
  readonly #chances = new Map<Happening, number>()

  constructor(random: Random) {
    this.random = random
    const rate = (off: number, max: number) => (random.chance(off) ? 0 : random.next() * max)
    for (const port of ['log', 'grid', 'ledger', 'sink'] as const) {
      this.#rates.set(port, { before: rate(0.3, 0.12), after: rate(0.3, 0.12), late: rate(0.3, 0.2) })
    }
    const often: Partial<Record<Happening, number>> = {
      gridLoss: 0.006,
      failover: 0.012,
      retentionPast: 0.0006,
      truncation: 0.01,
      upgrade: 0.004,
      schemaTrouble: 0.004,
      drain: 0.006,
      routingCut: 0.3,
      reset: 0.003,
      crash: 0.012,
    }
    for (const happening of happenings)
      this.#chances.set(
        happening,
        rate(happening === 'retentionPast' ? 0.85 : happening === 'truncation' ? 0.5 : 0.4, often[happening] ?? 0.02),
      )
  }

  of(port: PortName): CallRates {
    return this.isQuiet ? none : (this.#rates.get(port) ?? none)
  }

  chanceOf(happening: Happening): number {
    return this.isQuiet ? 0 : this.#chances.get(happening)!
  }

  /** Turns a happening off for this whole schedule. */
  disable(names: readonly string[]): void {
    for (const happening of happenings) if (names.includes(happening)) this.#chances.set(happening, 0)
  }

  /** Only these happen in this schedule, each often. */
  focus(names: readonly Happening[]): void {
    for (const happening of happenings) this.#chances.set(happening, names.includes(happening) ? this.random.next() * 0.02 : 0)
  }

  hits(name: FaultName, probability: number): boolean {
    if (this.isQuiet || !this.random.chance(probability)) return false
    this.count(name)
    return true
  }

  count(name: FaultName): void {
    this.total++
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
  }

  lateMs(): number {
    return this.random.chance(0.2) ? this.random.int(500, 3000) : this.random.int(1, 200)
  }
}
