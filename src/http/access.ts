/**
 * Who may look at a node: whoever has its token, or a ticket that was drawn with it.
 *
 * A browser cannot send headers with a WebSocket, and a URL is no place for a token. So a page offers two subprotocols, `forebay` and
 * `bearer.` with the token in base64url, or draws a ticket, which opens one WebSocket, once, within `ticketMs`.
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

/** The subprotocol a node speaks: the only one it ever names in its answer. */
export const subprotocol = 'forebay'
const offer = 'bearer.'
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
    return offered !== undefined && this.#isToken(offered)
  }

  /** Whether a Sec-WebSocket-Protocol header offers `forebay` and the token. */
  isOffered(header: string | undefined): boolean {
    const protocols = protocolsOf(header)
    const offered = protocols.find((one) => one.startsWith(offer))
    return offered !== undefined && protocols.includes(subprotocol) && this.#isToken(tokenOf(offered))
  }

  /** A Sec-WebSocket-Protocol header without the token, for eyes that need not see it. */
  withoutToken(header: string): string {
    return protocolsOf(header)
      .filter((one) => !one.startsWith(offer) || !this.#isToken(tokenOf(one)))
      .join(', ')
  }

  #isToken(offered: string): boolean {
    return this.#digest !== undefined && timingSafeEqual(digestOf(offered), this.#digest)
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

function protocolsOf(header: string | undefined): string[] {
  return (header ?? '').split(',').map((one) => one.trim())
}

function tokenOf(protocol: string): string {
  return Buffer.from(protocol.slice(offer.length), 'base64url').toString()
}

/** Digests are of one length, and tell nothing of where two texts differ. */
function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function nameOf(ticket: string): string {
  return digestOf(ticket).toString('base64')
}
