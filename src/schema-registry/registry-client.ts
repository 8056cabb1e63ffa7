/**
 * Asks a schema registry (the REST paths of Confluent's) for schemas.
 *
 * A registry that says that it does not know an id gives `unknown`; whatever else is not a schema is thrown: FB_REGISTRY_REFUSED when it
 * does not let us in, FB_REGISTRY_UNREACHABLE otherwise, so that nothing becomes a dead letter since a proxy answered instead.
 * Boundary: answers are bounded, redirects are not followed, and errors tell the url, never a secret.
 */
import { readFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import { authorizationOf, checkedRegistry } from './registry-options.ts'
import type { RegistryOptions } from './registry-options.ts'

export interface FetchedSchema {
  readonly type: string
  readonly text: string
  readonly references: readonly { readonly name: string; readonly text: string }[]
}

interface Reference {
  readonly name: string
  readonly subject: string
  readonly version: number
}

interface Answer {
  readonly status: number
  readonly body: string
}

const timeoutMsDefault = 3000
const answerBytesMax = 4 * 1024 * 1024
const referencesMax = 200
const accepted = 'application/vnd.schemaregistry.v1+json, application/json'
/** What Confluent's registry says of an id, a subject or a version that there is not. */
const unknownCodes = [40401, 40402, 40403]

export class RegistryClient {
  readonly #options: ReturnType<typeof checkedRegistry>

  /** Throws FB_PIPELINE. */
  constructor(options: RegistryOptions) {
    this.#options = checkedRegistry(options)
  }

  /** Schema `id` with all that it refers to; a sentence when the registry does not know it. Throws FB_REGISTRY_REFUSED, FB_REGISTRY_UNREACHABLE. */
  async schema(id: number): Promise<FetchedSchema | { readonly unknown: string }> {
    const what = `schema ${id}`
    const found = await this.#ask(`schemas/ids/${id}`, what)
    if (found === undefined) return { unknown: `the schema registry at ${this.#shownUrl} knows no schema ${id}` }
    const { schema: text, schemaType: type = 'AVRO' } = found
    if (typeof text !== 'string' || typeof type !== 'string') throw this.#odd(what, 'its answer holds no schema')
    const references = new Map<string, string>()
    const missing = await this.#refer(referencesOf(found['references']), references, what)
    if (missing !== undefined) return { unknown: `the schema registry at ${this.#shownUrl} lacks ${missing}, which schema ${id} refers to` }
    return { type, text, references: [...references].map(([name, referred]) => ({ name, text: referred })) }
  }

  /** Adds what is referred to, the deepest first; returns what there is not. */
  async #refer(
    wanted: readonly Reference[],
    found: Map<string, string>,
    of: string,
    path: readonly string[] = [],
  ): Promise<string | undefined> {
    for (const { name, subject, version } of wanted) {
      if (found.has(name) || path.includes(name)) continue
      if (found.size + path.length >= referencesMax) throw this.#odd(of, `it refers to more than ${referencesMax} others`)
      const where = `version ${version} of subject ${subject}`
      const answer = await this.#ask(`subjects/${encodeURIComponent(subject)}/versions/${version}`, `${where} for ${of}`)
      if (answer === undefined) return where
      if (typeof answer['schema'] !== 'string') throw this.#odd(of, `the answer for ${where} holds no schema`)
      const missing = await this.#refer(referencesOf(answer['references']), found, of, [...path, name])
      if (missing !== undefined) return missing
      found.set(name, answer['schema'])
    }
    return undefined
  }

  /** The answer's object; undefined when the registry knows no such thing. */
  async #ask(path: string, what: string): Promise<Record<string, unknown> | undefined> {
    let answer: Answer
    try {
      answer = await this.#get(path)
    } catch (error) {
      if (isForebayError(error)) throw error
      throw this.#odd(what, sentenceOf(error), error)
    }
    const { status, body } = answer
    if (status === 401 || status === 403) {
      const remedy = 'give it a user and a password, or a token, that may read schemas (registry.user and passwordFile, or tokenFile)'
      throw new ForebayError(
        'FB_REGISTRY_REFUSED',
        `The schema registry at ${this.#shownUrl} does not let ${what} be read (${status}): ${remedy}.`,
      )
    }
    const found = objectIn(body)
    if (status === 404 && unknownCodes.includes(Number(found?.['error_code']))) return undefined
    if (status >= 300 && status < 400)
      throw this.#odd(what, `it answers ${status}, a redirect, which is not followed: give the url it leads to`)
    if (status !== 200)
      throw this.#odd(what, `it answers ${status}${status === 404 ? ', and not as a schema registry does: check the path of the url' : ''}`)
    if (found === undefined) throw this.#odd(what, 'its answer is no JSON object')
    return found
  }

  async #get(path: string): Promise<Answer> {
    const { base, caFile, timeoutMs = timeoutMsDefault } = this.#options
    const authorization = await authorizationOf(this.#options, process.env)
    const ca = caFile === undefined ? undefined : await readFile(caFile)
    const url = new URL(`${base.href.replace(/\/+$/, '')}/${path}`)
    const headers = { accept: accepted, ...(authorization === undefined ? {} : { authorization }) }
    const signal = AbortSignal.timeout(timeoutMs)
    const options = { headers, signal, ...(ca === undefined ? {} : { ca }) }
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => reject(signal.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error)
      const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (response) => {
        const parts: Buffer[] = []
        let bytes = 0
        response.on('error', fail)
        response.on('data', (part: Buffer) => {
          bytes += part.length
          if (bytes <= answerBytesMax) return void parts.push(part)
          request.destroy()
          reject(new Error(`its answer is larger than ${answerBytesMax} bytes`))
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') }))
      })
      request.on('error', fail)
      request.end()
    })
  }

  #odd(what: string, why: string, cause?: unknown): ForebayError {
    const sentence = `The schema registry at ${this.#shownUrl} does not give ${what}: ${why}. Start it, or mend the way to it (registry.url, registry.caFile).`
    return new ForebayError('FB_REGISTRY_UNREACHABLE', sentence, { cause })
  }

  get #shownUrl(): string {
    return this.#options.base.href
  }
}

function objectIn(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function referencesOf(value: unknown): Reference[] {
  if (!Array.isArray(value)) return []
  return (value as Partial<Reference>[]).flatMap((reference) => {
    const { name, subject, version } = reference ?? {}
    return typeof name === 'string' && typeof subject === 'string' && typeof version === 'number' ? [{ name, subject, version }] : []
  })
}
