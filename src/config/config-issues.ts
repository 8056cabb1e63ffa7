/**
 * What the schema found wrong, in words: key, what is wrong with it, and what was probably meant.
 */
import * as z from 'zod'
import { didYouMean } from '../text/nearest.ts'
import { docOf, innermost } from './config-keys.ts'
import { configSchema } from './config-schema.ts'
import type { KeyPath } from './yaml-source.ts'

export interface ConfigProblem {
  readonly path: KeyPath
  readonly message: string
}

/** The problems behind the issues of one parse of `written`. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], written: unknown): ConfigProblem[] {
  return issues.flatMap((issue): ConfigProblem[] => {
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...issue.path, key]))
    return [{ path: issue.path, message: messageOf(issue, valueAt(written, issue.path)) }]
  })
}

/** Dotted path, such as `grid.members[0]`. */
export function pathText(path: KeyPath): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index > 0 ? '.' : ''}${String(part)}`)).join('')
}

/** Paths of all keys that hold a value, in the order of the schema, with their schemas. */
export function leafKeys(schema: z.ZodType = configSchema, path: readonly string[] = []): { path: readonly string[]; schema: z.ZodType }[] {
  const inner = innermost(schema)
  if (!(inner instanceof z.ZodObject)) return [{ path, schema }]
  return Object.entries(inner.shape).flatMap(([key, child]) => leafKeys(child as z.ZodType, [...path, key]))
}

function unknownKey(path: KeyPath): ConfigProblem {
  const key = String(path.at(-1))
  const siblings = keysAt(path.slice(0, -1))
  const near = didYouMean(key, siblings)
  const elsewhere = leafKeys().filter((leaf) => leaf.path.at(-1) === key)
  if (near === '' && elsewhere.length > 0)
    return { path, message: `unknown key; did you mean ${elsewhere.map((leaf) => leaf.path.join('.')).join(' or ')}?` }
  return { path, message: `unknown key${near === '' ? `; the keys here are ${siblings.join(', ')}` : near}` }
}

function keysAt(path: KeyPath): string[] {
  let schema: z.ZodType = configSchema
  for (const part of path) {
    const inner = innermost(schema)
    if (inner instanceof z.ZodObject) schema = inner.shape[String(part)] as z.ZodType
    else if (inner instanceof z.ZodRecord) schema = inner.valueType as z.ZodType
    else return []
  }
  const inner = innermost(schema)
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  const text = issue.message.replace(/^Invalid (input|option): /, '').replace(/, received \w+$/, '')
  if (issue.code === 'custom' && value !== undefined) return text
  if (value === undefined) return isMissing(issue) ? `is missing; ${docHint(issue.path, text)}` : text
  const choices = issue.code === 'invalid_value' ? issue.values.map(String) : []
  if (choices.length > 0) return `expected ${choices.join(', ')}, not ${shown(value)}${didYouMean(String(value), choices)}`
  return `${text}, not ${shown(value)}`
}

function isMissing(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'custom'
}

function docHint(path: KeyPath, text: string): string {
  const leaf = leafKeys().find((key) => key.path.join('.') === path.join('.'))
  const example = leaf && docOf(leaf.schema).example
  return example === undefined ? text : `${text}, such as ${String(example)}`
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? String(value)
}

export function valueAt(value: unknown, path: KeyPath): unknown {
  let at = value
  for (const part of path) {
    if (typeof at !== 'object' || at === null) return undefined
    at = (at as Record<PropertyKey, unknown>)[part]
  }
  return at
}
