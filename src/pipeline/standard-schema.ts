/**
 * Schemas of any library that speaks Standard Schema (https://standardschema.dev, version 1): zod from 3.24, valibot, arktype and
 * others. Only their `~standard` is used, so a pipeline chooses its library, and its version, by itself.
 */
import { types } from 'node:util'
import { ForebayError } from '../errors.ts'

/** What a schema of such a library has; nothing of it is looked at but this. */
export interface StandardSchema<out Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    /** Never set: it carries the types. */
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly PathPart[] | undefined }[] }

type PathPart = PropertyKey | { readonly key: PropertyKey }

/** What a schema makes of a value that fits it. */
export type OutputOf<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>['output']

const issuesShownMax = 5

/** Throws FB_PIPELINE when `schema` is none; `who` names what it was given to. */
export function checkStandardSchema(schema: unknown, who: string): void {
  const standard = isHolder(schema) ? schema['~standard'] : undefined
  if (isHolder(standard) && typeof standard['validate'] === 'function') return
  throw new ForebayError(
    'FB_PIPELINE',
    `${who} takes a Standard Schema, one of zod 3.24 or newer, valibot, arktype and others; this has no ~standard.validate`,
  )
}

/**
 * The function that gives what `schema` makes of a value. It throws FB_BAD_EVENT that names the path, what was expected and what was
 * there, also when the schema gives a promise.
 */
export function validatorOf<Output>(schema: StandardSchema<Output>): (value: unknown) => Output {
  const standard = schema['~standard']
  return (value) => {
    const result = standard.validate(value)
    if (isPromise(result)) throw refusedPromise(result)
    if (result.issues === undefined) return result.value
    const shown = result.issues.slice(0, issuesShownMax).map(issueText)
    if (result.issues.length > issuesShownMax) shown.push(`and ${result.issues.length - issuesShownMax} more`)
    throw new ForebayError('FB_BAD_EVENT', `the event does not fit the schema: ${shown.join('; ')}`)
  }
}

function isPromise(result: unknown): result is Promise<unknown> {
  return isHolder(result) && typeof result['then'] === 'function'
}

/** Nobody hears of the later failure of the promise. */
function refusedPromise(promise: Promise<unknown>): ForebayError {
  if (types.isPromise(promise)) void Promise.prototype.then.call(promise, undefined, () => undefined)
  return new ForebayError(
    'FB_BAD_EVENT',
    'the schema gave a promise, but an event is decoded at once: take out its async checks and transforms (zod also gives a promise when a function inside the schema throws)',
  )
}

function isHolder(value: unknown): value is Record<string, unknown> {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

function issueText({ message, path = [] }: { readonly message: string; readonly path?: readonly PathPart[] | undefined }): string {
  const at = pathText(path)
  // Arktype begins with the path by itself.
  return `${at}: ${message.startsWith(`${at} `) ? message.slice(at.length + 1) : message.replace(/^Invalid input: /, '')}`
}

function pathText(path: readonly PathPart[]): string {
  if (path.length === 0) return 'the whole value'
  const keys = path.map((part) => (typeof part === 'object' ? part.key : part))
  return keys.map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index > 0 ? '.' : ''}${String(key)}`)).join('')
}
