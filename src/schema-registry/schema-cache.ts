/**
 * What schemas were made into, by id. An id never changes, so what is known stays known; at most `schemasMax` are kept, and the one not
 * used for longest goes first. That an id is unknown, or its schema of no use, is kept for a while only: the registry may learn it.
 */
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { FetchedSchema } from './registry-client.ts'

export const schemasMax = 1000
const unusableMax = 10_000
const unusableMs = 30_000
/** Schemas that are fetched at once. */
const fetchesMax = 8

export interface SchemaSource {
  schema(id: number): Promise<FetchedSchema | { readonly unknown: string }>
}

export class SchemaCache<Reader> {
  readonly #source: SchemaSource
  readonly #make: (schema: FetchedSchema) => Promise<Reader> | Reader
  readonly #now: () => number
  readonly #readers = new Map<number, Reader>()
  readonly #unusable = new Map<number, { readonly why: string; readonly sinceMs: number }>()
  readonly #fetching = new Map<number, Promise<void>>()

  /** `make` throws for a schema that is of no use. */
  constructor(
    source: SchemaSource,
    make: (schema: FetchedSchema) => Promise<Reader> | Reader,
    now: () => number = () => performance.now(),
  ) {
    this.#source = source
    this.#make = make
    this.#now = now
  }

  /** Fetches the unknown ones among `ids`. Throws what the source throws; what it had fetched by then is kept. */
  async fetch(ids: Iterable<number>): Promise<void> {
    const wanted = [...ids].filter((id) => !this.#isKnown(id))
    const next = wanted.values()
    const fetchSome = async () => {
      for (const id of next) await this.#fetchOnce(id)
    }
    await Promise.all(Array.from({ length: Math.min(fetchesMax, wanted.length) }, fetchSome))
  }

  /** Throws FB_BAD_EVENT for one that is of no use, FB_REGISTRY_UNREACHABLE for one that was not fetched. */
  get(id: number): Reader {
    const reader = this.#readers.get(id)
    if (reader !== undefined) {
      this.#readers.delete(id)
      this.#readers.set(id, reader)
      return reader
    }
    const unusable = this.#unusable.get(id)
    if (unusable !== undefined) throw new ForebayError('FB_BAD_EVENT', unusable.why)
    throw new ForebayError('FB_REGISTRY_UNREACHABLE', `Schema ${id} was not fetched before its events were decoded.`)
  }

  #isKnown(id: number): boolean {
    if (this.#readers.has(id)) return true
    const unusable = this.#unusable.get(id)
    return unusable !== undefined && this.#now() - unusable.sinceMs < unusableMs
  }

  /** Partitions that meet an id at one time share its request. */
  async #fetchOnce(id: number): Promise<void> {
    const under = this.#fetching.get(id) ?? this.#fetch(id).finally(() => this.#fetching.delete(id))
    this.#fetching.set(id, under)
    await under
  }

  async #fetch(id: number): Promise<void> {
    const schema = await this.#source.schema(id)
    if ('unknown' in schema) return this.#refuse(id, schema.unknown)
    try {
      const reader = await this.#make(schema)
      this.#unusable.delete(id)
      keep(this.#readers, id, reader, schemasMax)
    } catch (error) {
      // A library that is not installed mends itself no sooner than the pipeline.
      if (isForebayError(error) && error.policy === 'fatal') throw error
      this.#refuse(id, `schema ${id} cannot be used: ${sentenceOf(error)}`)
    }
  }

  #refuse(id: number, why: string): void {
    keep(this.#unusable, id, { why, sinceMs: this.#now() }, unusableMax)
  }
}

function keep<Value>(map: Map<number, Value>, id: number, value: Value, countMax: number): void {
  map.delete(id)
  map.set(id, value)
  if (map.size > countMax) map.delete(map.keys().next().value!)
}
