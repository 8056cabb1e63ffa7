/**
 * A node's HTTP face: the status page, `/status`, `/metrics`, `/healthz`, `/readyz`, tickets and the WebSocket channels.
 *
 * Boundary: it knows the status, the metrics text and channels that take sockets, and nothing of how they come about.
 * It is read-only: no request changes the node. Every path checks the Host; everything but the probes counts by address and, where a token
 * is needed, asks for it. Listening from `listen` until disposed; then every client is closed with 1001.
 * Bounded: connections and clients, over all and by address, requests a minute and address, headers, the time a request may take to
 * arrive and an answer to be taken, and what WebSockets send.
 */
import fastifyHelmet from '@fastify/helmet'
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { createServer, ServerResponse, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { hostname } from 'node:os'
import { ForebayError, sentenceOf } from '../errors.ts'
import type { Observer } from '../observer.ts'
import { Access } from './access.ts'
import { dashboardHashes, dashboardHtml } from './dashboard.ts'
import { isHostAllowed, isLoopbackHost } from '../config/host-check.ts'
import { ProbeServer, type Probes } from './probe-server.ts'
import { SocketDoor, type PushChannel, type Refusal } from './socket-door.ts'
import type { NodeStatus } from '../status/status.ts'
import { Visitors } from './visitors.ts'

const closeWaitMs = 1000
const clientsMaxDefault = 1000
const clientsPerAddressMaxDefault = 250
/** Connections besides those of the WebSocket clients: pages, probes and scrapers. */
const otherConnectionsMax = 256
/** The same of one address. */
const otherPerAddressMax = 64
const keepAliveMs = 5000
/** How long a connection may stand still in the middle of an answer. */
const idleMs = 30_000
const headerBytesMax = 8192
const headersMax = 100
/** Jobs of a queue shown at most at once. */
const queueJobsMax = 1000
const probePaths: readonly string[] = ['/healthz', '/readyz']
const tokenWanted: Refusal = {
  statusCode: 401,
  message: 'This node wants its token (node.tokenFile): send it as `Authorization: Bearer …`; a browser asks for it at /.',
}
const linesWantToken: Refusal = { statusCode: 401, message: 'Lines of jobs are shown only to those who have the token (node.tokenFile).' }

interface QueueRequest {
  readonly Params: { readonly partition: string; readonly queue: string }
  readonly Querystring: { readonly jobs?: string }
}

export interface HttpServerOptions {
  /** Address to listen on. Default 127.0.0.1: nobody else can connect. */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
  /** Port of /healthz and /readyz alone, over plain HTTP, that no crowd at the other one can reach; 0 takes any free one. Default none. */
  readonly probePort?: number | undefined
  /** Host, or host:port, by which other machines reach the node. Default: `host`, or the machine's name when `host` is every address. */
  readonly advertise?: string | undefined
  /** Names, besides loopback names, `host` and IP addresses, under which browsers, probes and scrapers may reach the node. Default none. */
  readonly allowedHosts?: readonly string[]
  /** What everybody must send who reaches the node from another machine. */
  readonly token?: string | undefined
  /** Whether everybody may look who reaches the node, though other machines do. Default false. */
  readonly isOpen?: boolean
  /** Certificate chain and key, in PEM; left out, the node speaks plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
  /** WebSocket clients over all channels; further ones are answered with 503. Default 1000. */
  readonly clientsMax?: number
  /** The same of one address; further ones are answered with 429. Default 250. */
  readonly clientsPerAddressMax?: number
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
  readonly #access: Access
  readonly #visitors: Visitors
  readonly #door: SocketDoor
  #probe: ProbeServer | undefined
  #pinging: NodeJS.Timeout | undefined
  #isCopying = false

  private constructor(options: HttpServerOptions) {
    const { token, isOpen = false, host = defaultHost, observer, channels, requestsPerMinuteMax = 6000 } = options
    this.#options = options
    this.#access = new Access({ token, isTokenNeeded: !isOpen && !isLoopbackHost(host) })
    const clientsPerAddressMax = options.clientsPerAddressMax ?? clientsPerAddressMaxDefault
    const connectionsPerAddressMax = clientsPerAddressMax + otherPerAddressMax
    this.#visitors = new Visitors({ clientsPerAddressMax, connectionsPerAddressMax, requestsPerMinuteMax })
    this.#door = new SocketDoor({
      channels,
      observer,
      visitors: this.#visitors,
      clientsMax: this.#clientsMax,
      allowedNames: () => this.#allowedNames(),
      refuse: (request, ticket) => this.#refuseSocket(request, ticket),
      withoutToken: (protocols) => this.#access.withoutToken(protocols),
      isEncrypted: options.tls !== undefined,
    })
    this.#app = fastify({
      logger: false,
      forceCloseConnections: true,
      bodyLimit: 1024,
      serverFactory: (listener) => this.#createServer(listener),
    })
  }

  /** Starts to listen. Throws FB_CONFIG when the address cannot be had, or others could look without a token. */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const { host = defaultHost, port, probePort } = options
    const server = new HttpServer(options)
    const { isTokenNeeded, hasToken } = server.#access
    if (isTokenNeeded && !hasToken)
      throw new ForebayError(
        'FB_CONFIG',
        `Other machines reach a node that listens on ${host}: give it a token (node.tokenFile), or say node.open: true.`,
      )
    await server.#prepare()
    try {
      await server.#app.listen({ host, port })
    } catch (cause) {
      await server.#app.close()
      throw new ForebayError(
        'FB_CONFIG',
        `The HTTP server cannot listen on ${host}:${port}: ${sentenceOf(cause)}. Choose another port or address.`,
        { cause },
      )
    }
    try {
      if (probePort !== undefined) server.#probe = await ProbeServer.listen(host, probePort, server.#probes)
    } catch (error) {
      await server.#app.close()
      throw error
    }
    server.#pinging = setInterval(() => server.#door.ping(), options.pingIntervalMs ?? 15_000)
    server.#pinging.unref()
    return server
  }

  /** Where a browser on this machine finds the node, such as `http://127.0.0.1:8080`. */
  get url(): string {
    const { address, family, port } = this.#address()
    if (isEveryAddress(address)) return `${this.#scheme}://127.0.0.1:${port}`
    return family === 'IPv6' ? `${this.#scheme}://[${address}]:${port}` : `${this.#scheme}://${address}:${port}`
  }

  /** Where other machines find the node: what it tells the other nodes and the commands. */
  get announcedUrl(): string {
    const { address, port } = this.#address()
    const name = this.#options.advertise ?? (isEveryAddress(address) ? hostname() : undefined)
    if (name === undefined) return this.url
    return /:\d+$/.test(name.replace(/^\[.*\]/, '')) ? `${this.#scheme}://${name}` : `${this.#scheme}://${name}:${port}`
  }

  /** Port of the probes alone; undefined when they have none. */
  get probePort(): number | undefined {
    return this.#probe?.port
  }

  /** Connected WebSocket clients. */
  get clients(): number {
    return this.#door.clients
  }

  /** Sends every WebSocket client away with `reason`; each may connect again at once. */
  closeClients(reason: string): void {
    this.#door.close(1012, reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#pinging)
    this.#door.close(1001, 'the node stops')
    const cut = setTimeout(() => this.#door.terminate(), closeWaitMs)
    await this.#probe?.[Symbol.asyncDispose]()
    await this.#app.close()
    clearTimeout(cut)
  }

  #createServer(listener: RequestListener): Server {
    const { tls, requestTimeoutMs = 10_000 } = this.#options
    const options = {
      requestTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveMs,
      // Node looks for late requests this often; its default is every 30 s.
      connectionsCheckingInterval: 1000,
      maxHeaderSize: headerBytesMax,
    }
    const server =
      tls === undefined
        ? createServer(options, listener)
        : createTlsServer({ ...options, ...tls, handshakeTimeout: requestTimeoutMs }, listener)
    server.maxConnections = this.#clientsMax + otherConnectionsMax
    server.maxHeadersCount = headersMax
    server.setTimeout(idleMs)
    server.on('connection', (socket: Socket) => {
      const leave = this.#visitors.connect(socket.remoteAddress)
      if (leave === undefined) socket.destroy()
      else socket.once('close', leave)
    })
    server.on('upgrade', (request, socket, head) => {
      if (request.headers.upgrade?.toLowerCase() === 'websocket') this.#door.receive(request, socket, head)
      else answerPlainly(listener, request, socket as Socket)
    })
    return server
  }

  get #scheme(): 'http' | 'https' {
    return this.#options.tls === undefined ? 'http' : 'https'
  }

  #address(): { address: string; family: string; port: number } {
    const address = this.#app.server.address()
    return typeof address === 'object' && address ? address : { address: '127.0.0.1', family: 'IPv4', port: 0 }
  }

  async #prepare(): Promise<void> {
    const app = this.#app
    await app.register(fastifyHelmet, helmetOptions())
    app.setErrorHandler((error, _request, reply) => this.#answerError(error, reply))
    app.setNotFoundHandler(async (_request, reply) =>
      answer(
        reply,
        404,
        'There is nothing here. Known paths: /, /status, /metrics, /healthz, /readyz, /queues/<partition>/<queue>, /ws/<channel>, and POST /tickets.',
      ),
    )
    app.addHook('onRequest', async (request, reply) => this.#guard(request, reply))
    app.get('/', async (_request, reply) => showPage(reply))
    app.get('/status', async (_request, reply) => reply.header('cache-control', 'no-store').send(this.#options.status()))
    app.get('/metrics', async (_request, reply) => reply.type(this.#options.metrics.contentType).send(await this.#options.metrics.text()))
    for (const path of probePaths)
      app.get(path, async (_request, reply) => {
        const { statusCode, body } = this.#probes(path)
        return reply.code(statusCode).send(body)
      })
    app.post('/tickets', async (request, reply) => {
      if (this.#access.hasToken && !this.#access.isBearer(request.headers.authorization)) return refuse(reply, tokenWanted)
      return reply.header('cache-control', 'no-store').send(this.#access.drawTicket())
    })
    app.get<QueueRequest>('/queues/:partition/:queue', async (request, reply) => this.#answerQueue(request, reply))
    app.get<{ Params: { channel: string } }>('/ws/:channel', async ({ params: { channel } }, reply) => {
      const channels = this.#options.channels()
      return channels.has(channel)
        ? answer(reply.header('upgrade', 'websocket'), 426, 'This is a WebSocket channel: connect with ws:// instead of http://.')
        : answer(reply, 404, `There is no channel ${channel}. Channels: ${[...channels.keys()].join(', ') || 'none'}.`)
    })
    await app.ready()
  }

  readonly #probes: Probes = (path) => {
    const fatal = this.#options.fatalReason()
    if (path === '/healthz')
      return fatal === undefined
        ? { statusCode: 200, body: { isHealthy: true } }
        : { statusCode: 503, body: { isHealthy: false, reasons: [fatal] } }
    const { isReady, reasons } = this.#options.status()
    if (isReady && fatal === undefined) return { statusCode: 200, body: { isReady: true } }
    return { statusCode: 503, body: { isReady: false, reasons: fatal === undefined ? reasons : [fatal, ...reasons] } }
  }

  async #answerQueue({ params, query, headers }: FastifyRequest<QueueRequest>, reply: FastifyReply): Promise<FastifyReply> {
    const [partition, queue, jobs] = [params.partition, params.queue, query.jobs ?? '0'].map((text) =>
      /^\d{1,6}$/.test(text) ? Number(text) : NaN,
    )
    const isAsked = [partition, queue, jobs].every((number) => Number.isInteger(number)) && jobs! <= queueJobsMax
    if (isAsked && jobs! > 0 && !this.#maySeeLines(headers.authorization)) return refuse(reply, linesWantToken)
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

  /** Data of others: with the token alone where there is one, and never to strangers where there is none. */
  #maySeeLines(authorization: string | undefined): boolean {
    const { hasToken } = this.#access
    return hasToken ? this.#access.isBearer(authorization) : isLoopbackHost(this.#options.host ?? defaultHost)
  }

  #guard(request: FastifyRequest, reply: FastifyReply): FastifyReply | undefined {
    const refusal = this.#refuse(request.raw, probePaths.includes(request.routeOptions.url ?? ''))
    const isPage = refusal?.statusCode === 401 && request.routeOptions.url === '/'
    if (isPage) return showPage(reply.code(401).header('www-authenticate', 'Bearer'))
    return refusal && refuse(reply, refusal)
  }

  /** What holds for every request, WebSockets included. */
  #refuse({ headers, socket }: IncomingMessage, isProbe = false): Refusal | undefined {
    if (!isHostAllowed(headers.host, this.#allowedNames()))
      return {
        statusCode: 421,
        message: `This node does not answer to the name ${headers.host ?? '(none)'}. Add it to node.allowedHosts if it is meant to.`,
      }
    if (isProbe) return undefined
    if (!this.#visitors.ask(socket.remoteAddress))
      return { statusCode: 429, message: 'Too many requests of this address in this minute; ask later.' }
    return !this.#access.isTokenNeeded || this.#access.isBearer(headers.authorization) ? undefined : tokenWanted
  }

  /** The same of a WebSocket, for which there are other ways to show the token. */
  #refuseSocket(request: IncomingMessage, ticket: string | null): Refusal | undefined {
    const refusal = this.#refuse(request)
    if (refusal !== tokenWanted) return refusal
    return this.#access.isOffered(request.headers['sec-websocket-protocol']) || this.#access.redeem(ticket) ? undefined : refusal
  }

  get #clientsMax(): number {
    return this.#options.clientsMax ?? clientsMaxDefault
  }

  #allowedNames(): readonly string[] {
    const { host, allowedHosts = [] } = this.#options
    return [...allowedHosts, ...(host === undefined ? [] : [host]), new URL(this.announcedUrl).hostname]
  }

  #answerError(error: unknown, reply: FastifyReply): FastifyReply {
    const statusCode = (error as { statusCode?: number }).statusCode ?? 500
    if (statusCode < 500) return answer(reply, statusCode, sentenceOf(error))
    this.#options.observer.log('error', 'an HTTP request failed', { err: error })
    return answer(reply, statusCode, 'The node could not answer; its log says why.')
  }
}

const defaultHost = '127.0.0.1'

/** Some clients ask in passing whether HTTP/2 is spoken here (`Upgrade: h2c`): they get their answer, and no upgrade. */
function answerPlainly(listener: RequestListener, request: IncomingMessage, socket: Socket): void {
  socket.on('error', () => undefined)
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.once('finish', () => socket.end())
  listener(request, response)
}

function isEveryAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
}

function answer(reply: FastifyReply, statusCode: number, message: string): FastifyReply {
  return reply.code(statusCode).send({ statusCode, message })
}

function refuse(reply: FastifyReply, { statusCode, message }: Refusal): FastifyReply {
  if (statusCode === 401) void reply.header('www-authenticate', 'Bearer')
  return answer(reply, statusCode, message)
}

/** The page holds no data of the node: it asks for them, and for the token where one is wanted. */
function showPage(reply: FastifyReply): FastifyReply {
  return reply.type('text/html; charset=utf-8').header('cache-control', 'no-store').send(dashboardHtml)
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
    // It would hold for all ports of the host, and for plain HTTP it is ignored.
    strictTransportSecurity: false,
  }
}
