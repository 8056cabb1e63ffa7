/**
 * What was thrown, in words. Code of pipelines, of libraries and of other realms throws anything: objects without a prototype, proxies,
 * getters that throw, messages of ten megabytes. Nothing here throws, and nothing it gives is longer than asked for.
 */
import { types } from 'node:util'

/** Longest sentence of an error, unless a place asks for less. */
const sentenceCharsMax = 10_000
const nestingMax = 8

/** What `thrown` says, in at most `charsMax` characters and without half a surrogate pair; for logs and dead letters. */
export function sentenceOf(thrown: unknown, charsMax: number = sentenceCharsMax): string {
  return bounded(textOf(thrown, 0), charsMax)
}

/** `thrown` itself where it is an error like others, else an error that says what was thrown: what foreign code threw is fit to be looked at then. */
export function errorOf(thrown: unknown): Error {
  const isPlain = attempt(() => types.isNativeError(thrown) && thrown instanceof Error && typeof thrown.message === 'string')
  return isPlain === true ? (thrown as Error) : new Error(sentenceOf(thrown))
}

/** The stack of `thrown` in at most `charsMax` characters; what it says where there is none. */
export function stackOf(thrown: unknown, charsMax: number = sentenceCharsMax): string {
  const stack = attempt(() => (thrown as { stack?: unknown } | null | undefined)?.stack)
  return typeof stack === 'string' && stack !== '' ? bounded(stack, charsMax) : sentenceOf(thrown, charsMax)
}

function textOf(thrown: unknown, depth: number): string {
  if (typeof thrown === 'string') return thrown === '' ? 'an empty text was thrown' : thrown
  if (typeof thrown === 'function') return 'a function was thrown'
  if (typeof thrown !== 'object' || thrown === null) return String(thrown)
  const message = memberOf(thrown, 'message')
  if (typeof message === 'string' && message !== '') return message
  const inner = firstOfAggregate(thrown)
  if (inner !== undefined && depth < nestingMax) return textOf(inner.value, depth + 1)
  if (typeof message === 'number' || typeof message === 'bigint') return `${message}`
  const own = ownTextOf(thrown)
  const name = memberOf(thrown, 'name')
  if (own !== undefined && own !== name) return own
  return typeof name === 'string' && name !== '' ? name : 'an object without a message was thrown'
}

function firstOfAggregate(thrown: object): { value: unknown } | undefined {
  const errors = memberOf(thrown, 'errors')
  return attempt(() => (Array.isArray(errors) && errors.length > 0 ? { value: errors[0] as unknown } : undefined))
}

/** What its own `toString` gives, when that is more than the kind of object. */
function ownTextOf(thrown: object): string | undefined {
  const text = attempt(() => {
    const { toString } = thrown as { toString?: unknown }
    if (typeof toString !== 'function' || toString === Object.prototype.toString) return undefined
    return (toString as () => unknown).call(thrown)
  })
  return typeof text === 'string' && text !== '' && !text.startsWith('[object ') ? text : undefined
}

function memberOf(value: object, name: string): unknown {
  return attempt(() => (value as Record<string, unknown>)[name])
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

/** A copy: a slice would keep the whole text in memory for as long as the sentence lives. Postgres stores no U+0000. */
function bounded(text: string, charsMax: number): string {
  const short = text.length <= charsMax ? text : Buffer.from(`${text.slice(0, charsMax - 1)}…`).toString()
  return short.toWellFormed().replaceAll('\0', '\ufffd')
}
