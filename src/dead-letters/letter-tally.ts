/**
 * Dead letters are heard of: how many this node wrote, for whom, and why the first; and whether a first run's events fit at all.
 *
 * Job: `converted` hears of each letter when an event is converted, `buried` when it is committed. In the log there is at most one
 * warning a minute for each task, and for whole events, with the count since the one before. When not one of the events read since
 * this node began could be taken, or not one by some task, that is said once, loudly, within seconds, whatever the cadence: it is the
 * newcomer's wrong schema, not a poison event. Bounded: one entry a task.
 */
import type { Observer } from '../observer.ts'
import type { DeadLetter } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'

export interface LetterTallyPorts {
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log'>
  /** Events read since start that have a value, or go to `decode` without. */
  readonly events: () => number
}

/** Dead letters that a node committed since it started. Times are wall clock. */
export interface LetterStatus {
  /** Null: whole events, which no task could take. */
  readonly task: string | null
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  /** Where the first one lies, as `partition/offset`, and what it says. */
  readonly firstAt: string
  readonly firstError: string
}

interface Tally {
  status: LetterStatus | undefined
  /** Committed and not yet told. */
  untold: { count: number; first: DeadLetter; sinceMs: number } | undefined
  toldMs: number
  /** Made in conversions. */
  converted: number
  convertedSinceMs: number
  complaint: string
}

const lookMs = 500
const againMs = 60_000
/** What comes together is told together. */
const gatherMs = 1000
/** So many at once, or a few for so long, are no accident. */
const misfitsMin = 3
const misfitMs = 2000

export class LetterTally {
  readonly #ports: LetterTallyPorts
  readonly #tallies = new Map<string | null, Tally>()
  readonly #misfits = new Map<string | null, string>()
  /** Of whom some event was taken. */
  readonly #fitting = new Set<string | null>()

  constructor(ports: LetterTallyPorts) {
    this.#ports = ports
  }

  /** An event, or its job of `task`, could not be converted. */
  converted(task: string | null, complaint: string): void {
    const tally = this.#of(task)
    if (tally.converted++ > 0) return
    tally.convertedSinceMs = this.#ports.clock.now()
    tally.complaint = complaint
  }

  /** Letters that a flush committed. */
  buried(letters: readonly DeadLetter[]): void {
    const { clock } = this.#ports
    for (const letter of letters) {
      const tally = this.#of(letter.task)
      const lastMs = clock.wallMs()
      const firstAt = `${letter.partition}/${letter.offset}`
      const { count, ...first } = tally.status ?? { count: 0, task: letter.task, firstMs: lastMs, firstAt, firstError: letter.error }
      tally.status = { ...first, count: count + 1, lastMs }
      tally.untold ??= { count: 0, first: letter, sinceMs: clock.now() }
      tally.untold.count++
    }
  }

  /** By task, whole events first. */
  statuses(): LetterStatus[] {
    const found = [...this.#tallies.values()].flatMap(({ status }) => status ?? [])
    return found.toSorted((a, b) => (a.task ?? '').localeCompare(b.task ?? ''))
  }

  /** What says that no event fits, while none does. */
  misfits(): string[] {
    return [...this.#misfits.values()]
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ports.clock.sleep(lookMs, signal)
      if (signal.aborted) return
      for (const [task, tally] of this.#tallies) {
        this.#lookForMisfits(task, tally)
        this.#tell(task, tally)
      }
    }
  }

  #of(task: string | null): Tally {
    let tally = this.#tallies.get(task)
    if (tally === undefined) {
      tally = { status: undefined, untold: undefined, toldMs: -Infinity, converted: 0, convertedSinceMs: 0, complaint: '' }
      this.#tallies.set(task, tally)
    }
    return tally
  }

  #lookForMisfits(task: string | null, { converted, convertedSinceMs, complaint }: Tally): void {
    const { clock, observer, events } = this.#ports
    if (converted === 0 || this.#fitting.has(task)) return
    // Of a task only the events count that got as far.
    const taken = task === null ? events() : events() - (this.#tallies.get(null)?.converted ?? 0)
    if (converted < taken) {
      this.#fitting.add(task)
      this.#misfits.delete(task)
      return
    }
    if (this.#misfits.has(task) || converted < misfitsMin || clock.now() - convertedSinceMs < misfitMs) return
    const what = task === null ? 'could be read by the pipeline' : `could be converted by task ${task}`
    const mend = task === null ? 'correct the schema given to decode, or the topic' : `correct convert of task ${task}`
    const sentence = `not one of the first ${converted} events ${what}, so all become dead letters: ${complaint}; ${mend}, then forebay dead-letters redrive`
    this.#misfits.set(task, sentence)
    observer.log('error', sentence, { task })
  }

  #tell(task: string | null, tally: Tally): void {
    const { clock, observer } = this.#ports
    const { untold, toldMs } = tally
    const nowMs = clock.now()
    if (untold === undefined || nowMs - untold.sinceMs < gatherMs || nowMs - toldMs < againMs) return
    tally.untold = undefined
    tally.toldMs = nowMs
    const { count, first } = untold
    const what = task === null ? `${count} whole event${count === 1 ? '' : 's'}` : `task ${task}: ${count} event${count === 1 ? '' : 's'}`
    const lines = `${what} became ${count === 1 ? 'a dead letter' : 'dead letters'}; the first, offset ${first.offset} of partition ${first.partition}: ${first.error}`
    observer.log('warn', `${lines}; forebay dead-letters list shows them`, { task, count })
  }
}

/** Counts of letters in one line, with what the first says. */
export function lettersText(letters: readonly Pick<LetterStatus, 'task' | 'count' | 'firstAt' | 'firstError'>[]): string {
  const [first] = letters
  if (first === undefined) return 'none'
  const counts = letters.map(({ task, count }) => `${count} of ${task === null ? 'whole events' : `task ${task}`}`)
  return `${counts.join(', ')}; the first, ${first.firstAt}: ${first.firstError}`
}
