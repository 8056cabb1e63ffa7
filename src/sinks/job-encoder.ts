/** Jobs to lines. Pure: nothing is asked of a server. */
import { ForebayError, sentenceOf } from '../errors.ts'
import type { Sink } from './sink.ts'

/** The encoder of a sink's jobs; it throws FB_BAD_JOB where the sink has none of its own. */
export function encodeOf({ label, encode }: Pick<Sink<unknown>, 'label' | 'encode'>): (job: unknown) => string {
  return encode ?? ((job) => jsonLine(label, job))
}

function jsonLine(label: string, job: unknown): string {
  if (job === undefined || typeof job === 'function' || typeof job === 'symbol')
    throw new ForebayError('FB_BAD_JOB', `${label}: a ${typeof job} has no JSON form.`)
  try {
    return jsonOf(job)
  } catch (cause) {
    throw new ForebayError('FB_BAD_JOB', `${label}: the job has no JSON form: ${sentenceOf(cause)}`, { cause })
  }
}

/** JSON with bigints as strings. Throws what JSON.stringify throws. */
export function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    // A replacer is many times slower, so it is used only where there is a bigint.
    return JSON.stringify(value, (_name, part: unknown) => (typeof part === 'bigint' ? String(part) : part))
  }
}
