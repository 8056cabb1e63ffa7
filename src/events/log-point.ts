/** A point in the log as an operator writes it: a word, an offset, or a time with its zone. Pure. */

export type LogPoint<Word extends string> =
  | { readonly kind: Word }
  | { readonly kind: 'offset'; readonly offset: bigint }
  | { readonly kind: 'time'; readonly timeMs: number }

const offsetMax = 2n ** 63n - 1n
const timePattern = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d\d):?(\d\d))$/

/** Reads one of `words`, decimal digits, or a time as `parseTime` takes it; undefined: it is none of them. */
export function parseLogPoint<Word extends string>(text: string, words: readonly Word[]): LogPoint<Word> | undefined {
  const word = words.find((one) => one === text)
  if (word !== undefined) return { kind: word }
  if (/^\d{1,19}$/.test(text)) {
    const offset = BigInt(text)
    return offset <= offsetMax ? { kind: 'offset', offset } : undefined
  }
  const timeMs = parseTime(text)
  return timeMs === undefined ? undefined : { kind: 'time', timeMs }
}

/**
 * Milliseconds since 1970 of a time such as `2026-01-31T09:30:00Z` or `…+01:00`; undefined when it is none, has no zone, or
 * names a day that its month does not have (which the runtime takes for one of the next month).
 */
export function parseTime(text: string): number | undefined {
  const found = timePattern.exec(text)
  if (found === null) return undefined
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((digits) => Number(digits ?? 0)) as unknown as Six
  const zone = [Number(found[9] ?? 0), Number(found[10] ?? 0)] as const
  const isClock = hour <= 23 && minute <= 59 && second <= 59 && zone[0] <= 23 && zone[1] <= 59
  if (!isClock || month < 1 || month > 12 || day < 1 || day > new Date(Date.UTC(year, month, 0)).getUTCDate()) return undefined
  const zoneMs = (zone[0] * 60 + zone[1]) * 60_000 * (found[8] === '-' ? -1 : 1)
  const ms = Number((found[7] ?? '').slice(0, 3).padEnd(3, '0'))
  return Date.UTC(year, month - 1, day, hour, minute, second, ms) - zoneMs
}

type Six = readonly [number, number, number, number, number, number]
