/**
 * A node's HTTP face: the status page, `/status`, `/metrics`, `/healthz`, `/readyz` and the WebSocket channels.
 *
 * Boundary: it knows the status, the metrics text and channels that take sockets, and nothing of how they come about.
 * It is read-only: no request changes the node. Every path checks the Host. Listening from `listen` until disposed; then
 * every client is closed with 1001. Bounded: connections, clients, requests a minute and address, the time a request may
 * take to arrive, and inbound messages (they are ignored, and above 64 bytes refused).
 */
import fastifyHelmet from '@fastify/helmet'
import fastifyRateLimit from '@fastify/rate-limit'
import fastifyWebsocket from '@fastify/websocket'
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { hostname } from 'node:os'
import type { WebSocket } from 'ws'
import { ForebayError, sentenceOf } from '../errors.ts'
import type { Observer } from '../observer.ts'
import { dashboardHashes, dashboardHtml } from './dashboard.ts'
import { isHostAllowed, isOriginAllowed } from './host-check.ts'
import type { NodeStatus } from './status.ts'

const inboundBytesMax = 64
const closeWaitMs = 1000
const clientsMaxDefault = 1000
/** Connections besides those of the WebSocket clients: pages, probes and scrapers. */
const otherConnectionsMax = 256
/** Jobs of a queue shown at most at once. */
const queueJobsMax = 1000

interface QueueRequest {
  readonly Params: { readonly partition: string; readonly queue: string }
  readonly Querystring: { readonly jobs?: string }
}

/** Takes the sockets of clients that asked for a channel, and looks after them until they close. */
export interface PushChannel {
  attach(socket: WebSocket): void
}

export interface HttpServerOptions {
  /** Address to listen on. Default 127.0.0.1: nobody else can connect. */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
  /** Host, or host:port, by which other machines reach the node. Default: `host`, or the machine's name when `host` is every address. */
  readonly advertise?: string | undefined
  /** Names, besides loopback names, `host` and IP addresses, under which browsers, probes and scrapers may reach the node. Default none. */
  readonly allowedHosts?: readonly string[]
  /** WebSocket clients over all channels; further ones are answered with 503. Default 1000. */
  readonly clientsMax?: number
  /** Requests a minute and client address; further ones are answered with 429. Default 6000. */
  readonly requestsPerMinuteMax?: number
  /** A request that takes longer to arrive is answered with 408. Default 10000. */
  readonly requestTimeoutMs?: number
  /** A client that did not answer the ping before is dropped. Default 15000. */
  readonly pingIntervalMs?: number
  readonly status: () => NodeStatus
  /** Why the node has stopped for good, or undefined while it works. */
  readonly fatalReason: () => string | undefined
  readonly metrics: { readonly contentType: string; text(): Promise<string> }
  /** A copy of a queue (one at a time, others are answered with 503) with up to `jobs` lines, or undefined when there is no such queue; left out, nobody can ask. */
  readonly queue?: (partition: number, queue: number, jobs: number) => Promise<unknown>
  /** Channels by name, asked at each connection. */
  readonly channels: () => ReadonlyMap<string, PushChannel>
  readonly observer: Pick<Observer, 'log'>
}

export class HttpServer implements AsyncDisposable {
  readonly #options: HttpServerOptions
  readonly #app: FastifyInstance
  readonly #alive = new WeakSet<WebSocket>()
  #pinging: NodeJS.Timeout | undefined
  #isCopying = false

  private constructor(options: HttpServerOptions) {
    this.#options = options
    this.#app = fastify({
      logger: false,
      forceCloseConnections: true,
      bodyLimit: 1024,
      requestTimeout: options.requestTimeoutMs ?? 10_000,
      // Node looks for late requests this often; its default is every 30 s.
      http: { connectionsCheckingInterval: 1000 },
    })
    this.#app.server.maxConnections = this.#clientsMax + otherConnectionsMax
  }

  /** Starts to listen. Throws FB_CONFIG when the address cannot be had. */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options)
    await server.#prepare()
    const host = options.host ?? '127.0.0.1'
    try {
      await server.#app.listen({ host, port: options.port })
    } catch (cause) {
      await server.#app.close()
      throw new ForebayError(
        'FB_CONFIG',
        `The HTTP server cannot listen on ${host}:${options.port}: ${sentenceOf(cause)}. Choose another port or address.`,
        { cause },
      )
    }
    server.#pinging = setInterval(() => server.#ping(), options.pingIntervalMs ?? 15_000)
    server.#pinging.unref()
    return server
  }

  /** Where a browser on this machine finds the node, such as `http://127.0.0.1:8080`. */
  get url(): string {
    const { address, family, port } = this.#address()
    if (isEveryAddress(address)) return `http://127.0.0.1:${port}`
    return family === 'IPv6' ? `http://[${address}]:${port}` : `http://${address}:${port}`
  }

  /** Where other machines find the node: what it tells the other nodes and the commands. */
  get announcedUrl(): string {
    const { address, port } = this.#address()
    const name = this.#options.advertise ?? (isEveryAddress(address) ? hostname() : undefined)
    if (name === undefined) return this.url
    return /:\d+$/.test(name.replace(/^\[.*\]/, '')) ? `http://${name}` : `http://${name}:${port}`
  }

  /** Connected WebSocket clients. */
  get clients(): number {
    return this.#app.websocketServer.clients.size
  }

  /** Sends every WebSocket client away with `reason`; each may connect again at once. */
  closeClients(reason: string): void {
    for (const socket of this.#app.websocketServer.clients) socket.close(1012, reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#pinging)
    const sockets = [...this.#app.websocketServer.clients]
    for (const socket of sockets) socket.close(1001, 'the node stops')
    const cut = setTimeout(() => sockets.forEach((socket) => socket.terminate()), closeWaitMs)
    await this.#app.close()
    clearTimeout(cut)
  }

  #address(): { address: string; family: string; port: number } {
    const address = this.#app.server.address()
    return typeof address === 'object' && address ? address : { address: '127.0.0.1', family: 'IPv4', port: 0 }
  }

  async #prepare(): Promise<void> {
    const app = this.#app
    await app.register(fastifyRateLimit, { max: this.#options.requestsPerMinuteMax ?? 6000, timeWindow: 60_000 })
    await app.register(fastifyHelmet, helmetOptions())
    await app.register(fastifyWebsocket, { options: { maxPayload: inboundBytesMax, perMessageDeflate: false } })
    app.setErrorHandler((error, _request, reply) => this.#answerError(error, reply))
    app.setNotFoundHandler(async (_request, reply) =>
      answer(
        reply,
        404,
        'There is nothing here. Known paths: /, /status, /metrics, /healthz, /readyz, /queues/<partition>/<queue>, /ws/<channel>.',
      ),
    )
    app.addHook('onRequest', async (request, reply) => this.#checkHost(request, reply))
    app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').header('cache-control', 'no-store').send(dashboardHtml))
    app.get('/status', async (_request, reply) => reply.header('cache-control', 'no-store').send(this.#options.status()))
    app.get('/metrics', async (_request, reply) => reply.type(this.#options.metrics.contentType).send(await this.#options.metrics.text()))
    app.get('/healthz', async (_request, reply) => {
      const reason = this.#options.fatalReason()
      return reason === undefined ? reply.send({ isHealthy: true }) : reply.code(503).send({ isHealthy: false, reasons: [reason] })
    })
    app.get('/readyz', async (_request, reply) => this.#answerReady(reply))
    app.get<QueueRequest>('/queues/:partition/:queue', async (request, reply) => this.#answerQueue(request, reply))
    app.route<{ Params: { channel: string } }>({
      method: 'GET',
      url: '/ws/:channel',
      preValidation: async (request, reply) => this.#admit(request, reply),
      handler: async (_request, reply) =>
        answer(reply.header('upgrade', 'websocket'), 426, 'This is a WebSocket channel: connect with ws:// instead of http://.'),
      wsHandler: (socket, request) => this.#attach(socket, request.params.channel),
    })
    await app.ready()
  }

  async #answerReady(reply: FastifyReply): Promise<FastifyReply> {
    const fatal = this.#options.fatalReason()
    const { isReady, reasons } = this.#options.status()
    if (isReady && fatal === undefined) return reply.send({ isReady: true })
    return reply.code(503).send({ isReady: false, reasons: fatal === undefined ? reasons : [fatal, ...reasons] })
  }

  async #answerQueue({ params, query }: FastifyRequest<QueueRequest>, reply: FastifyReply): Promise<FastifyReply> {
    const [partition, queue, jobs] = [params.partition, params.queue, query.jobs ?? '0'].map((text) =>
      /^\d{1,6}$/.test(text) ? Number(text) : NaN,
    )
    const isAsked = [partition, queue, jobs].every((number) => Number.isInteger(number)) && jobs! <= queueJobsMax
    // A copy goes through a whole ring: one at a time, whoever asks.
    if (isAsked && this.#isCopying)
      return answer(reply.header('retry-after', '1'), 503, 'This node copies a queue for somebody else; ask again.')
    const copy = isAsked ? await this.#copyQueue(partition!, queue!, jobs!) : undefined
    if (copy !== undefined) return reply.header('cache-control', 'no-store').send(copy)
    return answer(reply, 404, `There is no queue ${params.partition}/${params.queue} here.`)
  }

  async #copyQueue(partition: number, queue: number, jobs: number): Promise<unknown> {
    this.#isCopying = true
    try {
      return await this.#options.queue?.(partition, queue, jobs)
    } finally {
      this.#isCopying = false
    }
  }

  async #checkHost(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
    if (isHostAllowed(request.headers.host, this.#allowedNames())) return undefined
    return answer(
      reply,
      421,
      `This node does not answer to the name ${request.headers.host ?? '(none)'}. Add it to node.allowedHosts if it is meant to.`,
    )
  }

  /** Refuses before the upgrade, so that the client sees an HTTP status and a sentence. */
  async #admit(request: FastifyRequest<{ Params: { channel: string } }>, reply: FastifyReply): Promise<FastifyReply | undefined> {
    const { channel } = request.params
    const { origin, host } = request.headers
    const channels = this.#options.channels()
    if (!channels.has(channel))
      return answer(reply, 404, `There is no channel ${channel}. Channels: ${[...channels.keys()].join(', ') || 'none'}.`)
    if (!request.ws) return undefined
    if (!isOriginAllowed(origin, host, this.#allowedNames()))
      return answer(reply, 403, `Pages of ${origin} may not connect. Add the host to node.allowedHosts if they may.`)
    const clientsMax = this.#clientsMax
    if (this.clients >= clientsMax)
      return answer(reply, 503, `This node has its ${clientsMax} WebSocket clients already. Try another node or raise node.clientsMax.`)
    return undefined
  }

  get #clientsMax(): number {
    return this.#options.clientsMax ?? clientsMaxDefault
  }

  #allowedNames(): readonly string[] {
    const { host, allowedHosts = [] } = this.#options
    return [...allowedHosts, ...(host === undefined ? [] : [host]), new URL(this.announcedUrl).hostname]
  }

  #attach(socket: WebSocket, channel: string): void {
    this.#alive.add(socket)
    socket.on('pong', () => this.#alive.add(socket))
    // The library closes the socket itself after a protocol error; without a listener the error would end the process.
    socket.on('error', (error) => this.#options.observer.log('debug', 'a WebSocket client failed', { channel, reason: sentenceOf(error) }))
    const target = this.#options.channels().get(channel)
    if (target) target.attach(socket)
    else socket.close(1011, 'the channel is gone')
  }

  #ping(): void {
    for (const socket of this.#app.websocketServer.clients) {
      if (!this.#alive.delete(socket)) socket.terminate()
      else socket.ping()
    }
  }

  #answerError(error: unknown, reply: FastifyReply): FastifyReply {
    const statusCode = (error as { statusCode?: number }).statusCode ?? 500
    if (statusCode < 500) return answer(reply, statusCode, sentenceOf(error))
    this.#options.observer.log('error', 'an HTTP request failed', { err: error })
    return answer(reply, statusCode, 'The node could not answer; its log says why.')
  }
}

function isEveryAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}

function answer(reply: FastifyReply, statusCode: number, message: string): FastifyReply {
  return reply.code(statusCode).send({ statusCode, message })
}

function helmetOptions() {
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: [dashboardHashes.script],
        styleSrc: [dashboardHashes.style],
        imgSrc: ['data:'],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    // Served over plain HTTP: a strict-transport header would be ignored here and could lock out other ports of the host.
    strictTransportSecurity: false,
  }
}
