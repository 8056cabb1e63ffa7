import { atOnce } from '../../at-once.ts'
import { ForebayError, sentenceOf } from '../../errors.ts'
import { jsonOf } from '../job-encoder.ts'
import type { WebSocketDefinition } from './web-socket-definition.ts'

const keyLengthMax = 1024

/** `["key",value]`; bigints become strings. Throws FB_BAD_JOB. */
export function latestLine({ channel, latestBy }: Pick<WebSocketDefinition, 'channel' | 'latestBy'>, job: unknown): string {
  const key: unknown = atOnce(latestBy(job), 'latestBy')
  if (typeof key !== 'string' || key.length > keyLengthMax)
    throw new ForebayError('FB_BAD_JOB', `channel ${channel}: latestBy must give a string of at most ${keyLengthMax} characters.`)
  if (job === undefined || typeof job === 'function' || typeof job === 'symbol')
    throw new ForebayError('FB_BAD_JOB', `channel ${channel}: a ${typeof job} has no JSON form.`)
  try {
    return jsonOf([key, job])
  } catch (cause) {
    throw new ForebayError('FB_BAD_JOB', `channel ${channel}: the value of ${key} has no JSON form: ${sentenceOf(cause)}`, { cause })
  }
}
