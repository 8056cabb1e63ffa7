import { types } from 'node:util'
import { ForebayError } from './errors.ts'

/**
 * `given`, unless it is a promise: then FB_BAD_EVENT, and nobody hears of its later failure. `what` gave it.
 * Of anything else that can be waited for (a query that runs only once somebody waits) nothing is started.
 */
export function atOnce<T>(given: T, what: string): T {
  if (typeof given !== 'object' || given === null || typeof (given as { then?: unknown }).then !== 'function') return given
  if (types.isPromise(given)) void Promise.prototype.then.call(given, undefined, () => undefined)
  throw new ForebayError(
    'FB_BAD_EVENT',
    `${what} gave a promise; it must give its result at once and from the event alone, so it can be neither async nor ask anybody`,
  )
}
