/** Jobs to lines, as every sink takes them. Pure: nothing is asked of a server. */
import { ForebayError, sentenceOf } from '../errors.ts'
import { atOnce } from '../pipeline/at-once.ts'
import { rowEncoder } from './postgres-table/copy-text.ts'
import type { PostgresTableDefinition } from '../pipeline/postgres-table-definition.ts'
import { planTable } from '../pipeline/table-plan.ts'
import type { WebSocketDefinition } from '../pipeline/web-socket-definition.ts'

const keyLengthMax = 1024

/** The encoder of a task's jobs; it throws FB_BAD_JOB. Throws FB_PIPELINE for a definition that is wrong. */
export function jobEncoder(sink: PostgresTableDefinition | WebSocketDefinition): (job: unknown) => string {
  return sink.kind === 'postgres-table' ? rowEncoder(sink.table, planTable(sink).columns) : (job) => latestLine(sink, job)
}

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

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return JSON.stringify(value, (_name, part: unknown) => (typeof part === 'bigint' ? String(part) : part))
  }
}
