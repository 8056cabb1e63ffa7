/** Jobs as lines of COPY text. Encoding runs once for every job. Pure. */
import { types } from 'node:util'
import { ForebayError, sentenceOf } from '../../errors.ts'
import { own } from '../../own.ts'
import { dateTime, fieldEncoder } from './column-encoders.ts'
import type { PlannedColumn } from './table-plan.ts'

const valueCharsMax = 60

/** Encodes a job, an object with a value for each column, as a line without its newline. Throws FB_BAD_JOB naming column and value. */
export function rowEncoder(table: string, columns: readonly PlannedColumn[]): (job: unknown) => string {
  const names = columns.map((column) => column.name)
  const encoders = columns.map(fieldEncoder)
  const count = columns.length
  // What every object inherits under the name of a column is no value of it.
  const isInherited = names.map((name) => name in Object.prototype)
  return (job) => {
    if (typeof job !== 'object' || job === null) {
      throw new ForebayError('FB_BAD_JOB', `A row for table ${table} is ${show(job)}; convert is to return an object with its columns.`)
    }
    const row = job as Record<string, unknown>
    const fields = new Array<string>(count)
    for (let i = 0; i < count; i++) {
      let value: unknown
      try {
        value = isInherited[i] === true ? own(row, names[i]!) : row[names[i]!]
        fields[i] = encoders[i]!(value)
      } catch (error) {
        throw refused(error, table, columns[i]!, value)
      }
    }
    return fields.join('\t')
  }
}

function refused(error: unknown, table: string, column: PlannedColumn, value: unknown): ForebayError {
  return new ForebayError(
    'FB_BAD_JOB',
    `Column "${column.name}" (${column.declared}) of table ${table} cannot take ${show(value)}: ${sentenceOf(error, 500)}.`,
  )
}

function show(value: unknown): string {
  if (typeof value === 'string')
    return value.length > valueCharsMax ? `${JSON.stringify(value.slice(0, valueCharsMax))}…` : JSON.stringify(value)
  if (typeof value === 'function') return 'a function'
  // A proxy is not looked into: it may throw at every look.
  if (types.isProxy(value)) return 'a proxy'
  if (types.isDate(value)) return Number.isNaN(dateTime(value)) ? 'an invalid Date' : 'a Date'
  return typeof value === 'object' && value !== null ? (Array.isArray(value) ? 'an array' : 'an object') : String(value)
}
