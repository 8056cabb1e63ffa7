/**
 * Who comes how often: connections, WebSocket clients and requests a minute by address.
 *
 * The address is the one of the connection. What a proxy says of others (X-Forwarded-For) is never believed, since anybody can say it:
 * behind a proxy all of its clients count as one address. An IPv6 network of 64 bits counts as one address, since one host has all of it.
 * Bounded: connections and clients are; of addresses that asked within the minute the first `addressesMax` count each by itself, later
 * ones together.
 */
import { isIPv6 } from 'node:net'

export interface VisitorLimits {
  readonly connectionsPerAddressMax: number
  readonly clientsPerAddressMax: number
  readonly requestsPerMinuteMax: number
}

const addressesMax = 10_000
const minuteMs = 60_000
const crowd = 'all others'

export class Visitors {
  readonly #limits: VisitorLimits
  readonly #now: () => number
  readonly #connections = new Map<string, number>()
  readonly #clients = new Map<string, number>()
  #requests = new Map<string, number>()
  #minute = -1

  constructor(limits: VisitorLimits, now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#now = now
  }

  /** Counts a connection, unless there are too many of its address. The answer ends it. */
  connect(address: string | undefined): (() => void) | undefined {
    return enter(this.#connections, addressGroup(address), this.#limits.connectionsPerAddressMax)
  }

  /** Counts a WebSocket client, unless there are too many of its address. The answer ends it. */
  attach(address: string | undefined): (() => void) | undefined {
    return enter(this.#clients, addressGroup(address), this.#limits.clientsPerAddressMax)
  }

  /** Counts a request; false when there are too many of its address in this minute. */
  ask(address: string | undefined): boolean {
    const minute = Math.floor(this.#now() / minuteMs)
    if (minute !== this.#minute) {
      this.#minute = minute
      this.#requests = new Map()
    }
    const group = addressGroup(address)
    const name = this.#requests.has(group) || this.#requests.size < addressesMax ? group : crowd
    const count = (this.#requests.get(name) ?? 0) + 1
    this.#requests.set(name, count)
    return count <= this.#limits.requestsPerMinuteMax
  }
}

function enter(counts: Map<string, number>, name: string, max: number): (() => void) | undefined {
  const count = counts.get(name) ?? 0
  if (count >= max) return undefined
  counts.set(name, count + 1)
  let isIn = true
  return () => {
    if (!isIn) return
    isIn = false
    const left = counts.get(name)! - 1
    if (left > 0) counts.set(name, left)
    else counts.delete(name)
  }
}

/** What counts as one address: an IPv4 address, however it is written, or the first 64 bits of an IPv6 address. */
export function addressGroup(address = ''): string {
  const plain = address.replace(/%.*$/, '').toLowerCase()
  if (!isIPv6(plain)) return plain
  const words = wordsOf(plain)
  // ::ffff:1.2.3.4 is an IPv4 address on a socket that takes both.
  if (words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff)
    return words
      .slice(6)
      .flatMap((word) => [word >> 8, word & 255])
      .join('.')
  return `${words
    .slice(0, 4)
    .map((word) => word.toString(16))
    .join(':')}::/64`
}

/** The eight words of an IPv6 address. */
function wordsOf(address: string): number[] {
  const text = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((word) => word.toString(16)).join(':'),
  )
  const [head = '', tail] = text.split('::')
  const words = (part: string) => (part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16)))
  const [first, last] = [words(head), words(tail ?? '')]
  return [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last]
}
