/**
 * Columns of jobs as parameters: each as one text in the notation that Postgres has for arrays. The driver would make them in many
 * small pieces.
 */
import type { JobLines } from '../../grid/segment.ts'
import { decodeField } from './copy-text.ts'

/** The fields of `columns`, each as an array in the notation of Postgres. */
export function fieldArrays(jobs: readonly JobLines[], columns: readonly number[]): string[] {
  const arrays: string[][] = columns.map(() => [])
  for (const lines of jobs) {
    for (const line of lines.lines()) {
      const fields = line.split('\t')
      columns.forEach((column, i) => arrays[i]!.push(elementOf(fields[column]!)))
    }
  }
  return arrays.map((elements) => `{${elements.join(',')}}`)
}

function elementOf(field: string): string {
  if (!field.includes('\\') && !field.includes('"')) return `"${field}"`
  const value = decodeField(field)
  return value === null ? 'NULL' : `"${value.replaceAll(/["\\]/g, '\\$&')}"`
}
