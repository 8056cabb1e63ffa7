import { inspect } from 'node:util'
import { rememberSecret } from '../text/redaction.ts'

/** A text that must not be shown: printing, logging or serialising it gives `***`. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
    rememberSecret(text)
  }

  /** The text itself; only for the client that needs it. */
  reveal(): string {
    return this.#text
  }

  toString(): string {
    return '***'
  }

  toJSON(): string {
    return '***'
  }

  [inspect.custom](): string {
    return '***'
  }
}
