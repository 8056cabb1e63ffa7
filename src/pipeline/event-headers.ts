/**
 * The headers of a record: names with bytes, in the order they were written; a name may come more than once.
 *
 * They are kept as the log gave them and decoded when somebody asks: most pipelines never do.
 */
export type EventHeader = readonly [name: string, value: Buffer | null]

export class EventHeaders implements Iterable<EventHeader> {
  #entries: readonly EventHeader[] | undefined
  readonly #read: () => readonly EventHeader[]

  /** `read` is called once, at the first question; what it throws is thrown to the one who asked. */
  constructor(read: () => readonly EventHeader[]) {
    this.#read = read
  }

  /** How many headers there are, repeated names counted each. */
  get size(): number {
    return this.#all().length
  }

  /** The bytes of the last header of that name; null when it was written without any, undefined when there is none. */
  get(name: string): Buffer | null | undefined {
    return this.#all().findLast(([found]) => found === name)?.[1]
  }

  /** The last header of that name as UTF-8 text; undefined when there is none or it has no bytes. */
  text(name: string): string | undefined {
    return this.get(name)?.toString('utf8')
  }

  /** The bytes of every header of that name, in order. */
  all(name: string): (Buffer | null)[] {
    return this.#all().flatMap(([found, value]) => (found === name ? [value] : []))
  }

  [Symbol.iterator](): Iterator<EventHeader> {
    return this.#all()[Symbol.iterator]()
  }

  #all(): readonly EventHeader[] {
    return (this.#entries ??= this.#read())
  }
}

export const noHeaders = new EventHeaders(() => [])

/** Headers as the log in Postgres keeps them: texts by name, or null for none. */
export function headersOfTexts(texts: Readonly<Record<string, string>> | null): EventHeaders {
  if (texts === null) return noHeaders
  return new EventHeaders(() => Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]))
}

/** The longest `traceparent` that is kept; one of the present version has 55 characters. */
const traceparentCharsMax = 512

/** The W3C trace context an event was written under, for its dead letters; null when it has none that can be read. */
export function traceparentOf({ headers }: { readonly headers?: EventHeaders }): string | null {
  if (headers === undefined) return null
  try {
    const text = headers.text('traceparent')
    // Printable ASCII, as the standard has it: anything else is no trace and may be no text for the database.
    return text !== undefined && text.length <= traceparentCharsMax && /^[\x20-\x7e]+$/.test(text) ? text : null
  } catch {
    return null
  }
}
