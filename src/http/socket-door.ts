/**
 * The door for WebSockets: decides on each upgrade before it is one, and looks after the sockets until they close.
 *
 * Everything but `/ws/<channel>` is refused before it counts. A refusal is an HTTP answer with a sentence. Clients take, and give
 * nothing: a message ends its socket (1008), so do more than a few pings, and what arrives is bounded in bytes and fragments.
 * Bounded: clients over all and by address, those included whose `authorize` is still deciding.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { sentenceOf } from '../errors.ts'
import type { Observer } from '../observer.ts'
import type { PushView } from '../sinks/web-socket/push-clients.ts'
import { subprotocol } from './access.ts'
import { isOriginAllowed } from '../config/host-check.ts'
import type { Channel } from '../sinks/web-socket/channel.ts'
import type { Visitors } from './visitors.ts'

/** Takes the sockets of clients that asked for a channel, and looks after them until they close. */
export interface PushChannel extends Pick<Channel, 'authorize'> {
  attach(socket: WebSocket, view: PushView): void
}

/** Why a request is not let in. */
export interface Refusal {
  readonly statusCode: number
  readonly message: string
}

export interface SocketDoorOptions {
  readonly channels: () => ReadonlyMap<string, PushChannel>
  readonly visitors: Visitors
  readonly clientsMax: number
  readonly allowedNames: () => readonly string[]
  /** What holds for every request; `ticket` is the one its URL carries. */
  readonly refuse: (request: IncomingMessage, ticket: string | null) => Refusal | undefined
  /** A Sec-WebSocket-Protocol header as others may see it. */
  readonly withoutToken: (protocols: string) => string
  readonly isEncrypted: boolean
  readonly observer: Pick<Observer, 'log'>
}

interface Guest {
  isAlive: boolean
  pings: number
}

const inboundBytesMax = 64
/** Pings of a client between two of ours. */
const pingsMax = 30
const farewellMs = 1000
const askedMax = 100
const keyCharsMax = 512
const failureMs = 60_000
const noMessages = 'this channel takes no messages'
const reasons: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
}

export class SocketDoor {
  readonly #options: SocketDoorOptions
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: inboundBytesMax,
    perMessageDeflate: false,
    // The library would name the first that is offered, which may be the token.
    handleProtocols: (protocols) => protocols.has(subprotocol) && subprotocol,
    ...limits,
  })
  readonly #guests = new Map<WebSocket, Guest>()
  /** Clients whose `authorize` is deciding. */
  #deciding = 0
  #toldMs = -Infinity

  constructor(options: SocketDoorOptions) {
    this.#options = options
  }

  get clients(): number {
    return this.#guests.size
  }

  /** Takes an `upgrade` of the server. */
  receive(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => undefined)
    this.#receive(request, socket, head).catch((error: unknown) => {
      this.#options.observer.log('error', 'a WebSocket could not be taken', { err: error })
      turnAway(socket, { statusCode: 503, message: 'The node could not answer; its log says why.' })
    })
  }

  /** Sends every client away with `reason`. */
  close(code: number, reason: string): void {
    for (const socket of this.#guests.keys()) socket.close(code, reason)
  }

  terminate(): void {
    for (const socket of this.#guests.keys()) socket.terminate()
  }

  /** Drops who did not answer the last ping and pings the others. */
  ping(): void {
    for (const [socket, guest] of this.#guests) {
      if (!guest.isAlive) socket.terminate()
      else socket.ping()
      guest.isAlive = false
      guest.pings = 0
    }
  }

  async #receive(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { channels, clientsMax, visitors } = this.#options
    const address = request.socket.remoteAddress
    const asked = parse(request.url ?? '')
    const { origin, host } = request.headers
    const refusal =
      this.#options.refuse(request, asked?.query.get('ticket') ?? null) ??
      (asked === undefined ? { statusCode: 404, message: 'WebSockets are at /ws/<channel> only.' } : this.#judge(asked, origin, host))
    if (refusal !== undefined || asked === undefined) return turnAway(socket, refusal!)
    if (this.clients + this.#deciding >= clientsMax)
      return turnAway(socket, {
        statusCode: 503,
        message: `This node has its ${clientsMax} WebSocket clients already. Try another node or raise node.clientsMax.`,
      })
    const leave = visitors.attach(address)
    if (leave === undefined)
      return turnAway(socket, {
        statusCode: 429,
        message: 'This node has as many WebSocket clients of this address as it takes (node.clientsPerAddressMax).',
      })
    const channel = channels().get(asked.channel)!
    const view = await this.#decide(channel, asked, request)
    if (view === undefined || socket.destroyed) leave()
    if (view === undefined) return turnAway(socket, { statusCode: 403, message: `You may not see channel ${asked.channel}.` })
    if (socket.destroyed) return
    socket.once('close', leave)
    this.#server.handleUpgrade(request, socket, head, (client) => this.#attach(client, asked.channel, view))
  }

  #judge({ channel, keys }: Asked, origin: string | undefined, host: string | undefined): Refusal | undefined {
    const channels = this.#options.channels()
    if (!channels.has(channel))
      return { statusCode: 404, message: `There is no channel ${channel}. Channels: ${[...channels.keys()].join(', ') || 'none'}.` }
    if (!isOriginAllowed(origin, host, this.#options.allowedNames()))
      return { statusCode: 403, message: `Pages of ${origin} may not connect. Add the host to node.allowedHosts if they may.` }
    if (keys !== undefined && (keys.length > askedMax || keys.some((key) => key.length > keyCharsMax)))
      return { statusCode: 400, message: `A client may ask for ${askedMax} keys of ${keyCharsMax} characters at most.` }
    return undefined
  }

  /** What the client sees; undefined: nothing. */
  async #decide(channel: PushChannel, { channel: name, query, keys }: Asked, request: IncomingMessage): Promise<PushView | undefined> {
    const isCopying = this.#options.isEncrypted
    const own: PushView = keys === undefined ? { isCopying } : { isCopying, asked: keys }
    if (channel.authorize === undefined) return own
    const rest = new URLSearchParams([...query].filter(([parameter]) => parameter !== 'key' && parameter !== 'ticket'))
    const address = request.socket.remoteAddress ?? ''
    this.#deciding++
    try {
      const verdict = await channel.authorize({ channel: name, address, headers: this.#headersOf(request), query: rest, keys })
      if (verdict === false) return undefined
      return verdict.allows === undefined ? own : { ...own, allows: verdict.allows }
    } catch (error) {
      this.#tellFailure(name, error)
      return undefined
    } finally {
      this.#deciding--
    }
  }

  #headersOf({ headers }: IncomingMessage): Readonly<Record<string, string | undefined>> {
    const plain = Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value] as const)
    const all = Object.assign(Object.create(null) as Record<string, string | undefined>, Object.fromEntries(plain))
    const protocols = all['sec-websocket-protocol']
    if (protocols !== undefined) all['sec-websocket-protocol'] = this.#options.withoutToken(protocols)
    return all
  }

  /** Once a minute at most: anybody can make it fail again and again. */
  #tellFailure(channel: string, error: unknown): void {
    if (performance.now() - this.#toldMs < failureMs) return
    this.#toldMs = performance.now()
    this.#options.observer.log('warn', `channel ${channel}: authorize failed, the client was refused: ${sentenceOf(error)}`)
  }

  #attach(socket: WebSocket, channel: string, view: PushView): void {
    const guest: Guest = { isAlive: true, pings: 0 }
    this.#guests.set(socket, guest)
    socket.on('close', () => this.#guests.delete(socket))
    socket.on('pong', () => (guest.isAlive = true))
    socket.on('ping', (data) => {
      // An answer to each of very many pings would pile up before a client that does not read.
      if (++guest.pings > pingsMax) socket.terminate()
      else if (socket.readyState === socket.OPEN) socket.pong(data)
    })
    socket.on('message', () => socket.close(1008, noMessages))
    // The library closes the socket itself after a protocol error; without a listener the error would end the process.
    socket.on('error', (error) => this.#options.observer.log('debug', 'a WebSocket client failed', { channel, reason: sentenceOf(error) }))
    const target = this.#options.channels().get(channel)
    if (target) target.attach(socket, view)
    else socket.close(1011, 'the channel is gone')
  }
}

/** Of the library, which its types do not know: fragments and pieces in wait, and how long a close may take. */
const limits = { autoPong: false, maxFragments: 16, maxBufferedChunks: 64, closeTimeout: farewellMs }

interface Asked {
  readonly channel: string
  readonly query: URLSearchParams
  readonly keys: readonly string[] | undefined
}

/** What `/ws/<channel>?…` asks for; undefined for every other path. */
function parse(url: string): Asked | undefined {
  const [, name, search = ''] = /^\/ws\/([^/?#]+)(?:\?([^#]*))?$/.exec(url) ?? []
  if (name === undefined) return undefined
  try {
    const query = new URLSearchParams(search)
    return { channel: decodeURIComponent(name), query, keys: query.has('key') ? [...new Set(query.getAll('key'))] : undefined }
  } catch {
    return undefined
  }
}

/** Answers in HTTP and closes the connection. */
function turnAway(socket: Duplex, { statusCode, message }: Refusal): void {
  const body = JSON.stringify({ statusCode, message })
  const bearer = statusCode === 401 ? 'WWW-Authenticate: Bearer\r\n' : ''
  socket.once('finish', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${statusCode} ${reasons[statusCode] ?? 'Error'}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `${bearer}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
