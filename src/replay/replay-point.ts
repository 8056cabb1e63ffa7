/**
 * Where a replay begins or ends, as an operator says it: `earliest`, `committed`, an offset, or a time with its zone. Pure.
 */
import { ForebayError } from '../errors.ts'

export type ReplayPoint =
  | { readonly kind: 'earliest' }
  /** The offset after the floor: what the pipeline has not yet settled. */
  | { readonly kind: 'committed' }
  | { readonly kind: 'offset'; readonly offset: bigint }
  | { readonly kind: 'time'; readonly timeMs: number }

const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$/
const offsetMax = 2n ** 63n - 1n

/** Throws FB_USAGE naming `option` and what it takes. */
export function parsePoint(text: string, option: '--from' | '--to'): ReplayPoint {
  if (text === 'committed') return { kind: 'committed' }
  if (text === 'earliest' && option === '--from') return { kind: 'earliest' }
  if (/^\d{1,19}$/.test(text) && BigInt(text) <= offsetMax) return { kind: 'offset', offset: BigInt(text) }
  const timeMs = timePattern.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(timeMs)) return { kind: 'time', timeMs }
  const isTimeWithoutZone = /^\d{4}-\d\d-\d\d/.test(text)
  const why = isTimeWithoutZone ? `${text} is not a time with its zone` : `${text} is none of them`
  const words = option === '--from' ? 'earliest, committed' : 'committed'
  throw new ForebayError(
    'FB_USAGE',
    `${option} takes ${words}, an offset (digits, with --partition), or a time with its zone such as 2026-01-31T09:30:00Z; ${why}`,
  )
}

/** As `parsePoint` reads it. */
export function pointText(point: ReplayPoint): string {
  switch (point.kind) {
    case 'offset':
      return String(point.offset)
    case 'time':
      return new Date(point.timeMs).toISOString()
    default:
      return point.kind
  }
}
