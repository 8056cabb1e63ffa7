/**
 * Where a replay begins or ends, as an operator says it: `earliest`, `committed`, an offset, or a time with its zone. Pure.
 */
import { ForebayError } from '../errors.ts'
import { parseLogPoint } from '../events/log-point.ts'

export type ReplayPoint =
  | { readonly kind: 'earliest' }
  /** The offset after the floor: what the pipeline has not yet settled. */
  | { readonly kind: 'committed' }
  | { readonly kind: 'offset'; readonly offset: bigint }
  | { readonly kind: 'time'; readonly timeMs: number }

/** Throws FB_USAGE naming `option` and what it takes. */
export function parsePoint(text: string, option: '--from' | '--to'): ReplayPoint {
  const point = parseLogPoint(text, option === '--from' ? (['earliest', 'committed'] as const) : (['committed'] as const))
  if (point !== undefined) return point
  const isTime = /^\d{4}-\d\d-\d\d/.test(text)
  const why = isTime ? `${text} is not a time with its zone, or its day does not exist` : `${text} is none of them`
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
