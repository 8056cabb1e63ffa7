import { ForebayError } from './errors.ts'

/** Throws FB_INTERNAL when `condition` is false: a bug in forebay, never bad input. `rule` names the invariant (`I1` …) or says what had to hold. */
export function assert(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new ForebayError('FB_INTERNAL', `an invariant does not hold: ${rule}`)
}

/** The value, or FB_INTERNAL when it is null or undefined. */
export function must<T>(value: T | null | undefined, what: string): T {
  assert(value !== null && value !== undefined, `${what} is there`)
  return value
}
