/**
 * Durations and sizes as people write them: a number directly followed by its unit.
 */

/** `15ms`, `1s`, `2m` or `1h`; whole and decimal numbers. */
export type Duration = `${number}ms` | `${number}s` | `${number}m` | `${number}h`

/** `512B`, `128KiB`, `4MiB` or `1GiB`. */
export type Size = `${number}B` | `${number}KiB` | `${number}MiB` | `${number}GiB`

const msPerUnit: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const bytesPerUnit: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** A measured number, or the sentence that says what is wrong with it. */
export type Measured = { readonly value: number } | { readonly problem: string }

/** Milliseconds of a duration. */
export function parseDuration(text: unknown): Measured {
  const value = scaled(text, msPerUnit)
  return value === undefined ? { problem: durationProblem(text) } : { value }
}

/** Bytes of a size; always a whole number. */
export function parseSize(text: unknown): Measured {
  const value = scaled(text, bytesPerUnit)
  return value === undefined ? { problem: sizeProblem(text) } : { value: Math.round(value) }
}

/** `bytes` for people, in the largest unit that keeps it at or above 1. */
export function sizeText(bytes: number): string {
  const unit = Object.entries(bytesPerUnit).findLast(([, factor]) => bytes >= factor) ?? ['B', 1]
  return `${Number((bytes / unit[1]).toFixed(1))}${unit[0]}`
}

/** `ms` for people, in the largest unit that divides it. */
export function durationText(ms: number): string {
  const unit = Object.entries(msPerUnit).findLast(([, factor]) => ms >= factor && ms % factor === 0) ?? ['ms', 1]
  return `${ms / unit[1]}${unit[0]}`
}

function scaled(text: unknown, factors: Readonly<Record<string, number>>): number | undefined {
  const [, amount, unit] = (typeof text === 'string' && /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text)) || []
  const factor = unit === undefined || !Object.hasOwn(factors, unit) ? undefined : factors[unit]
  return factor === undefined ? undefined : Number(amount) * factor
}

function durationProblem(text: unknown): string {
  return `a duration needs a number and a unit (ms, s, m or h)${suggestion(text, { milliseconds: 'ms', msec: 'ms', millis: 'ms', sec: 's', secs: 's', seconds: 's', min: 'm', mins: 'm', minutes: 'm', hours: 'h' }, msPerUnit, 'ms')}`
}

function sizeProblem(text: unknown): string {
  const known = { b: 'B', bytes: 'B', k: 'KiB', kb: 'KiB', m: 'MiB', mb: 'MiB', g: 'GiB', gb: 'GiB' }
  return `a size needs a number and a unit (B, KiB, MiB or GiB)${suggestion(text, known, bytesPerUnit, 'B')}`
}

function suggestion(text: unknown, known: Readonly<Record<string, string>>, units: Readonly<Record<string, number>>, bare: string): string {
  const [, amount, written] = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(String(text)) ?? []
  if (amount === undefined) return `, not ${JSON.stringify(text)}`
  const lower = (written ?? '').toLowerCase()
  const unit =
    lower === ''
      ? bare
      : (Object.keys(units).find((name) => name.toLowerCase() === lower) ?? (Object.hasOwn(known, lower) ? known[lower] : undefined))
  return unit === undefined ? `, not ${JSON.stringify(text)}` : `; did you mean ${amount}${unit}?`
}
