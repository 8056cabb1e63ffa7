/** Reading what an author wrote, before any of it is trusted. */
import { didYouMean } from '../text/nearest.ts'

export type Fields = Readonly<Record<string, unknown>>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}

/** One clause for each field that is none of `known`. */
export function unknownFields(fields: Fields, known: readonly string[], prefix: string): string[] {
  const strangers = Object.keys(fields).filter((field) => !known.includes(field))
  return strangers.map((field) => `${prefix}${field} is unknown${didYouMean(field, known)}`)
}

export function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : typeof value === 'function' ? 'a function' : String(value)
}
