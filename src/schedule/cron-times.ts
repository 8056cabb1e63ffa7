/**
 * The moments at which a cron expression is due in a time zone. Pure: no clock is read.
 *
 * The rule for a day on which clocks change:
 * - An expression with every hour (`*`) follows real time: it runs at each moment that reads so, in a repeated hour twice, in a
 *   skipped hour not at all.
 * - Any other names times of day, and each comes once a day: a time that occurs twice runs at its first occurrence, times that
 *   are skipped run together at the moment the clocks change.
 */
import type { CronExpression } from './cron-expression.ts'

const dayMs = 86_400_000
const hoursOfDay = 24
/** From one 29 February to the next over a year like 2100, and a day to spare. */
const searchDaysMax = 8 * 366 + 1

export class CronTimes {
  readonly #expression: CronExpression
  readonly #zone: Intl.DateTimeFormat
  readonly #isEveryHour: boolean
  readonly #days = new Map<number, readonly number[]>()

  /** `timezone` as the IANA database names it; throws RangeError on another one. */
  constructor(expression: CronExpression, timezone: string) {
    this.#expression = expression
    this.#isEveryHour = expression.hours.length === hoursOfDay
    this.#zone = new Intl.DateTimeFormat('en-US', {
      timeZone: timezone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  }

  /** The first time after `afterMs`, or undefined when there is none within eight years. */
  next(afterMs: number): number | undefined {
    const first = this.#localDay(afterMs)
    // A day's times may lie a day off its own date, at a change of clocks around midnight.
    for (let day = first - dayMs; day <= first + searchDaysMax * dayMs; day += dayMs) {
      const found = this.#timesOf(day).find((time) => time > afterMs)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The latest times in (fromMs, toMs], rising, at most `countMax` of them; looks back eight years at most. */
  latest(fromMs: number, toMs: number, countMax: number): number[] {
    const found: number[] = []
    const last = this.#localDay(toMs) + dayMs
    const first = Math.max(this.#localDay(fromMs) - dayMs, last - searchDaysMax * dayMs)
    for (let day = last; day >= first && found.length < countMax; day -= dayMs) {
      const times = this.#timesOf(day)
      for (let i = times.length - 1; i >= 0 && found.length < countMax; i--) {
        const time = times[i]!
        if (time > fromMs && time <= toMs) found.push(time)
      }
    }
    return found.toReversed()
  }

  /** All times of one calendar day (named by its midnight in UTC), rising. */
  #timesOf(day: number): readonly number[] {
    const known = this.#days.get(day)
    if (known !== undefined) return known
    const date = new Date(day)
    const isDay = this.#expression.isDay(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate())
    const times = isDay ? this.#workOut(day) : []
    // A few days around now are all that is asked for again and again.
    if (this.#days.size >= 4) this.#days.clear()
    this.#days.set(day, times)
    return times
  }

  #workOut(day: number): number[] {
    const { hours, minutes, seconds } = this.#expression
    const change = this.#changeAround(day)
    const times: number[] = []
    for (const hour of hours) {
      for (const minute of minutes) {
        for (const second of seconds) this.#addMoments(times, day + ((hour * 60 + minute) * 60 + second) * 1000, change)
      }
    }
    return change.beforeMs === change.afterMs ? times : [...new Set(times)].toSorted((a, b) => a - b)
  }

  /** Adds the moments at which the clocks of the zone read `wall` (written as if it were UTC). */
  #addMoments(times: number[], wall: number, { beforeMs, afterMs, atMs }: Change): void {
    const early = wall - beforeMs
    const late = wall - afterMs
    if (beforeMs === afterMs) return void times.push(early)
    const isEarly = early < atMs
    const isLate = late >= atMs
    if (isEarly) times.push(early)
    if (isLate && (!isEarly || this.#isEveryHour)) times.push(late)
    if (!isEarly && !isLate && !this.#isEveryHour) times.push(atMs)
  }

  /** How far the zone is ahead of UTC before and after the change of clocks near `day`; the same twice without one. */
  #changeAround(day: number): Change {
    let low = day - dayMs
    let high = day + 2 * dayMs
    const beforeMs = this.#aheadMs(low)
    const afterMs = this.#aheadMs(high)
    if (beforeMs === afterMs) return { beforeMs, afterMs, atMs: low }
    while (high - low > 1000) {
      const middle = low + Math.floor((high - low) / 2000) * 1000
      if (this.#aheadMs(middle) === beforeMs) low = middle
      else high = middle
    }
    return { beforeMs, afterMs, atMs: high }
  }

  #aheadMs(atMs: number): number {
    return this.#wall(atMs) - Math.floor(atMs / 1000) * 1000
  }

  /** Midnight, as if in UTC, of the day that the zone's calendar shows at `atMs`. */
  #localDay(atMs: number): number {
    return Math.floor(this.#wall(atMs) / dayMs) * dayMs
  }

  /** What the clocks of the zone show, as if it were UTC. */
  #wall(atMs: number): number {
    const shown = new Map(this.#zone.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]))
    const of = (type: Intl.DateTimeFormatPartTypes) => shown.get(type)!
    return Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second'))
  }
}

interface Change {
  readonly beforeMs: number
  readonly afterMs: number
  /** The first moment after the change. */
  readonly atMs: number
}
