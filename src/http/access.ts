/**
 * Who may look at a node: whoever has its token, or a ticket that was drawn with it.
 *
 * A ticket opens one WebSocket, once, within `ticketMs`: a browser cannot send the token with a WebSocket, and a URL is no place for it.
 * Comparisons take the same time whatever is offered. Nothing here is a cookie, so a foreign page can make no browser send any of it.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

export interface AccessOptions {
  /** Undefined: there is none, and nobody can have it. */
  readonly token: string | undefined
  /** Whether everything but the probes needs it. */
  readonly isTokenNeeded: boolean
  readonly now?: () => number
}

const ticketMs = 30_000
/** Tickets in wait; the oldest goes. */
const ticketsMax = 1000

export class Access {
  readonly isTokenNeeded: boolean
  readonly hasToken: boolean
  readonly #digest: Buffer | undefined
  readonly #now: () => number
  /** Digests of tickets in wait, oldest first, and when they end. */
  readonly #tickets = new Map<string, number>()

  constructor({ token, isTokenNeeded, now = () => performance.now() }: AccessOptions) {
    this.isTokenNeeded = isTokenNeeded
    this.hasToken = token !== undefined
    this.#digest = token === undefined ? undefined : digestOf(token)
    this.#now = now
  }

  /** Whether an Authorization header carries the token. */
  isBearer(header: string | undefined): boolean {
    const [, offered] = /^bearer +(\S+) *$/i.exec(header ?? '') ?? []
    return offered !== undefined && this.#digest !== undefined && timingSafeEqual(digestOf(offered), this.#digest)
  }

  drawTicket(): { ticket: string; expiresInMs: number } {
    for (const [oldest, endsMs] of this.#tickets) {
      if (endsMs > this.#now() && this.#tickets.size < ticketsMax) break
      this.#tickets.delete(oldest)
    }
    const ticket = randomBytes(32).toString('base64url')
    this.#tickets.set(nameOf(ticket), this.#now() + ticketMs)
    return { ticket, expiresInMs: ticketMs }
  }

  /** Whether it is a ticket that nobody has used; it is used now. */
  redeem(ticket: string | null): boolean {
    if (ticket === null) return false
    const name = nameOf(ticket)
    const endsMs = this.#tickets.get(name)
    this.#tickets.delete(name)
    return endsMs !== undefined && endsMs > this.#now()
  }
}

/** Digests are of one length, and tell nothing of where two texts differ. */
function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function nameOf(ticket: string): string {
  return digestOf(ticket).toString('base64')
}
