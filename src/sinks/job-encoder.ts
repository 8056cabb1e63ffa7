/** Jobs to lines. Pure: nothing is asked of a server. */
import { atOnce } from '../at-once.ts'
import { ForebayError, sentenceOf } from '../errors.ts'
import type { Sink } from './sink.ts'

/** The encoder of a sink's jobs. Throws FB_BAD_JOB for what is no line, and what the sink's own encoder throws. */
export function encodeOf({ label, encode }: Pick<Sink<unknown>, 'label' | 'encode'>): (job: unknown) => string {
  if (encode === undefined) return (job) => jsonLine(label, job)
  return (job) => {
    const line: unknown = atOnce(encode(job), 'encode')
    // A second line would be taken for the job after it.
    if (typeof line !== 'string' || line.includes('\n'))
      throw new ForebayError(
        'FB_BAD_JOB',
        `${label}: encode must give one line of text without a newline, not ${typeof line === 'string' ? 'several' : typeof line}.`,
      )
    return line
  }
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
