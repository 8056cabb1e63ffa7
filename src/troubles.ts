/**
 * What does not get through: the calls of ports that fail, hang or come late, and since when.
 *
 * Job: `watch` runs a call and notes its outcome under a kind and a place. A place is *well* after a call that came through in
 * time; from the first one after that which did not it is *unwell*, until one does. A call that never settles counts from its
 * start. Boundary: it notes and never acts; whoever called sees the very same outcome. What lasts `toldAfterMs` is *trouble*; one
 * failure that nobody tried to mend since is none, and what nobody tried for `staleMs` is over.
 *
 * Bounded: a place that nobody tried for `forgetMs` is forgotten.
 */
import { isForebayError, sentenceOf, serverCodeOf } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import type { Clock } from './schedule/clock.ts'

interface KindOfTrouble {
  /** Completes "… does not get through". */
  readonly what: string
  /** Whether work of the node stands still while it lasts, so that the node is not ready. */
  readonly standsStill: boolean
  /** A call that takes longer, besides what it was asked to wait, is late. */
  readonly lateMs: number
}

const kind = (what: string, standsStill: boolean, lateMs = 1000): KindOfTrouble => ({ what, standsStill, lateMs })

export const troubleKinds = {
  fetch: kind('reading events from the log', true),
  'log-end': kind('asking the log for its ends', true),
  'log-look': kind('looking up single events and settings of the log', false),
  commit: kind('committing floors for lag tools', false),
  schemas: kind('fetching schemas of events from the schema registry', true, 5000),
  append: kind('appending to the rings of the grid', true),
  'ring-read': kind('reading the rings of the grid', true),
  tail: kind('looking at the tails of the rings', true),
  flags: kind('looking for flags in the grid', true),
  membership: kind('telling the other nodes through the grid that this one lives', true),
  values: kind('carrying latest values through the grid', false),
  watermarks: kind('reading the watermarks', true),
  settle: kind('raising the floor', true),
  flush: kind('flushing into the database', true, 3000),
  deliver: kind('delivering jobs', true, 3000),
  cron: kind('looking up cron runs', false),
  presence: kind('telling the database that the node lives', false),
  side: kind('a loop beside the work', false),
} as const satisfies Record<string, KindOfTrouble>

export type TroubleKind = keyof typeof troubleKinds

/** `fails`: calls end with an error. `hangs`: a call has no outcome. `late`: calls come through, but take too long. */
export type TroubleForm = 'fails' | 'hangs' | 'late'

/** Of one place. */
export interface Trouble {
  readonly kind: TroubleKind
  /** Such as `partition 3` or `p3.q1`. */
  readonly where: string
  /** Of `Clock.now`. */
  readonly sinceMs: number
  readonly form: TroubleForm
  /** Null: no error is known, it hangs or is late. */
  readonly code: ErrorCode | null
  readonly sentence: string
  /** The same for the same reason, whatever the sentence says of place and time. */
  readonly reason: string
}

/** What a loop needs to have its calls watched. */
export interface TroubleWatch {
  /** Runs `call`, which was asked to wait up to `waitMs` for something to happen. Its outcome is the call's. */
  watch<T>(kind: TroubleKind, where: string, call: () => Promise<T>, waitMs?: number): Promise<T>
  /** What runs for long and is begun again after `error`; it is well once it has not failed for a while. */
  failed(kind: TroubleKind, where: string, error: unknown): void
}

interface Call {
  startMs: number
  readonly waitMs: number
}

interface Place {
  readonly calls: Set<Call>
  unwellSinceMs: number | undefined
  /** Outcomes since then. */
  unwellTimes: number
  /** Of the last outcome while it is unwell; undefined: it came late. */
  error: unknown
  tookMs: number
  outcomeMs: number
}

export const toldAfterMs = 5000
/** Longer than any wait between two attempts. */
const staleMs = 15_000
const forgetMs = 60_000

export class Troubles implements TroubleWatch {
  readonly #clock: Pick<Clock, 'now'>
  readonly #kinds = new Map<TroubleKind, Map<string, Place>>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  async watch<T>(kind: TroubleKind, where: string, call: () => Promise<T>, waitMs = 0): Promise<T> {
    const place = this.#place(kind, where)
    const own: Call = { startMs: this.#clock.now(), waitMs }
    place.calls.add(own)
    try {
      const result = await call()
      this.#ended(place, own, troubleKinds[kind].lateMs)
      return result
    } catch (error) {
      if (hasAnswered(error)) this.#ended(place, own, troubleKinds[kind].lateMs)
      else this.#unwell(place, own.startMs, error)
      throw error
    } finally {
      place.calls.delete(own)
    }
  }

  failed(kind: TroubleKind, where: string, error: unknown): void {
    const nowMs = this.#clock.now()
    this.#unwell(this.#place(kind, where), nowMs, error)
  }

  /** Whatever has lasted for `lastedMs`, the oldest first. */
  present(lastedMs = toldAfterMs): Trouble[] {
    const nowMs = this.#clock.now()
    const found: Trouble[] = []
    for (const [kind, places] of this.#kinds) {
      for (const [where, place] of places) {
        const trouble = troubleOf(kind, where, place, nowMs)
        if (trouble !== undefined && nowMs - trouble.sinceMs >= lastedMs) found.push(trouble)
      }
    }
    return found.toSorted((a, b) => a.sinceMs - b.sinceMs)
  }

  /** Whether calls of `kind` failed last, and nobody tries them any more: their work may be another node's now. */
  isLeft(kind: TroubleKind): boolean {
    const nowMs = this.#clock.now()
    return [...(this.#kinds.get(kind)?.values() ?? [])].some((place) => place.unwellSinceMs !== undefined && isLeft(place, nowMs))
  }

  /** For whom nobody looked for `ms`, as a process that was stopped: that time counts against nobody. */
  skip(ms: number): void {
    for (const places of this.#kinds.values()) {
      for (const place of places.values()) {
        if (place.unwellSinceMs !== undefined) place.unwellSinceMs += ms
        for (const call of place.calls) call.startMs += ms
      }
    }
  }

  /** Drops places that nobody tries any more, and those `isOver` names: their loop has been stopped. */
  tidy(isOver: (where: string) => boolean = () => false): void {
    const nowMs = this.#clock.now()
    for (const places of this.#kinds.values()) {
      for (const [where, place] of places) {
        const isIdle = place.calls.size === 0 && nowMs - place.outcomeMs >= forgetMs
        if (isIdle || isOver(where)) places.delete(where)
      }
    }
  }

  #place(kind: TroubleKind, where: string): Place {
    let places = this.#kinds.get(kind)
    if (places === undefined) this.#kinds.set(kind, (places = new Map()))
    let place = places.get(where)
    if (place === undefined) {
      place = { calls: new Set(), unwellSinceMs: undefined, unwellTimes: 0, error: undefined, tookMs: 0, outcomeMs: this.#clock.now() }
      places.set(where, place)
    }
    return place
  }

  #ended(place: Place, call: Call, lateMs: number): void {
    place.outcomeMs = this.#clock.now()
    const tookMs = place.outcomeMs - call.startMs - call.waitMs
    place.tookMs = tookMs
    if (tookMs >= lateMs) return this.#unwell(place, call.startMs, undefined)
    this.#well(place)
  }

  #well(place: Place): void {
    place.unwellSinceMs = undefined
    place.unwellTimes = 0
    place.error = undefined
  }

  #unwell(place: Place, sinceMs: number, error: unknown): void {
    const nowMs = this.#clock.now()
    if (isLeft(place, nowMs)) this.#well(place)
    place.outcomeMs = nowMs
    place.unwellSinceMs ??= sinceMs
    place.unwellTimes++
    place.error = error
  }
}

/** The port did its work and said no: another node was faster, a job is bad, an epoch is over. Others tell of it. */
function hasAnswered(error: unknown): boolean {
  return isForebayError(error) && (error.code === 'FB_FENCED' || error.code === 'FB_BAD_JOB' || error.code === 'FB_EPOCH_CLOSED')
}

function troubleOf(kind: TroubleKind, where: string, place: Place, nowMs: number): Trouble | undefined {
  const { unwellSinceMs, unwellTimes, error, tookMs, outcomeMs, calls } = place
  let hangSinceMs: number | undefined
  for (const { startMs, waitMs } of calls) {
    if (nowMs - startMs - waitMs >= toldAfterMs && (hangSinceMs === undefined || startMs < hangSinceMs)) hangSinceMs = startMs
  }
  const sinceMs = unwellSinceMs ?? hangSinceMs
  if (sinceMs === undefined) return undefined
  if (hangSinceMs !== undefined) {
    const sentence = `the call under way has not come back${error === undefined ? '' : ` (the one before: ${sentenceOf(error)})`}`
    return { kind, where, sinceMs, form: 'hangs', code: isForebayError(error) ? error.code : null, sentence, reason: 'hangs' }
  }
  const isAgain = unwellTimes > 1 || outcomeMs - sinceMs >= toldAfterMs || [...calls].some((call) => isLate(call, kind, nowMs))
  if (isLeft(place, nowMs) || !isAgain) return undefined
  if (error === undefined)
    return { kind, where, sinceMs, form: 'late', code: null, sentence: `the last call took ${secondsText(tookMs)}`, reason: 'late' }
  const code = isForebayError(error) ? error.code : null
  return { kind, where, sinceMs, form: 'fails', code, sentence: sentenceOf(error), reason: `${code} ${serverCodeOf(error) ?? ''}` }
}

function isLate({ startMs, waitMs }: Call, kind: TroubleKind, nowMs: number): boolean {
  return nowMs - startMs - waitMs >= troubleKinds[kind].lateMs
}

/** Nobody tries it any more. */
function isLeft({ calls, outcomeMs }: Place, nowMs: number): boolean {
  return calls.size === 0 && nowMs - outcomeMs >= staleMs
}

function secondsText(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
