/**
 * The grid as a Hazelcast cluster, through the client of `hazelcast-client`.
 *
 * Boundary: one client for the life of the process. It reconnects for ever by itself; while it is offline calls fail at once.
 * Every call has a time limit of its own, because the client leaves some promises open; whatever fails is FB_GRID_UNREACHABLE
 * and may still have had its effect. A write that its backup did not acknowledge counts as failed.
 *
 * Each waiting read of a ring leaves one timer-bound listener on a single question to the member, see hazelcast-ring.ts.
 */
import { Client, ReconnectMode } from 'hazelcast-client'
import type { IMap, Member } from 'hazelcast-client'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import { TlsIdentity } from '../database/tls-identity.ts'
import type { TlsFiles } from '../database/tls-identity.ts'
import { HazelcastRing } from './hazelcast-ring.ts'
import type { JobGrid, ReadOptions, RingEntries, RingTail, UnusedNames } from './job-grid.ts'

export interface HazelcastGridOptions {
  readonly clusterName: string
  /** `host:port` of some members; the others are learned from them. */
  readonly members: readonly string[]
  /** Absent: plain connections. TLS is a feature of Hazelcast Enterprise. */
  readonly tls?: TlsFiles | undefined
  /** How long one call may take. Default 5000. */
  readonly callTimeoutMs?: number
  /** How long the first connection may take. Default 30000. */
  readonly connectTimeoutMs?: number
  /** Told what the client says; nothing is printed without it. */
  readonly log?: (level: 'debug' | 'warn' | 'error', message: string) => void
  /** Called when entries of a map turn up that hold no text of ours. */
  readonly onForeign?: (count: number) => void
}

type Disturb = () => void

/** What the client knows of a member beyond what it declares. */
type VersionedMember = Member & { readonly version: { readonly major: number; readonly minor: number; readonly patch: number } }

export class HazelcastJobGrid implements JobGrid {
  readonly #client: Client
  readonly #callTimeoutMs: number
  readonly #listeners: Set<Disturb>
  readonly #rings = new Map<string, HazelcastRing>()
  readonly #maps = new Map<string, Promise<IMap<string, string>>>()
  readonly #onForeign: HazelcastGridOptions['onForeign']
  readonly #foreign = new Map<string, number>()
  #isClosed = false

  private constructor(client: Client, callTimeoutMs: number, listeners: Set<Disturb>, onForeign: HazelcastGridOptions['onForeign']) {
    this.#onForeign = onForeign
    this.#client = client
    this.#callTimeoutMs = callTimeoutMs
    this.#listeners = listeners
    listeners.add(() => this.#rings.forEach((ring) => ring.doubt()))
  }

  /** Throws FB_GRID_UNREACHABLE when no member of the cluster admits this client in time. */
  static async connect(options: HazelcastGridOptions): Promise<HazelcastJobGrid> {
    const { callTimeoutMs = 5000, connectTimeoutMs = 30_000, clusterName, members } = options
    const listeners = new Set<Disturb>()
    const deadlineMs = performance.now() + connectTimeoutMs
    const failure = (cause?: unknown) =>
      new ForebayError(
        'FB_GRID_UNREACHABLE',
        `No Hazelcast member of cluster \`${clusterName}\` answered at ${members.join(', ')} within ${connectTimeoutMs} ms${cause === undefined ? '' : ` (${sentenceOf(cause)})`}; check grid.members and grid.clusterName, and that the members run.`,
        { cause },
      )
    // The client cannot be stopped while it connects for the first time, so it is only made once somebody listens.
    while (!(await isAnyListening(members))) {
      if (performance.now() >= deadlineMs) throw failure()
      await sleep(100)
    }
    const connecting = Client.newHazelcastClient(clientConfig(options, callTimeoutMs, listeners))
    try {
      return new HazelcastJobGrid(await within(connecting, deadlineMs - performance.now()), callTimeoutMs, listeners, options.onForeign)
    } catch (error) {
      void connecting.then((client) => client.shutdown()).catch(() => undefined)
      throw failure(error)
    }
  }

  append(ring: string, entry: Buffer): Promise<bigint> {
    return this.#ring(ring).append(entry)
  }

  read(ring: string, fromSequence: bigint, options: ReadOptions): Promise<RingEntries> {
    return this.#ring(ring).read(fromSequence, options)
  }

  peek(ring: string, fromSequence: bigint, countMax: number): Promise<RingEntries> {
    return this.#ring(ring).peek(fromSequence, countMax)
  }

  tail(ring: string): Promise<RingTail> {
    return this.#ring(ring).tail()
  }

  capacity(ring: string): Promise<number> {
    return this.#ring(ring).capacity()
  }

  put(map: string, key: string, value: string): Promise<void> {
    return this.#call(`put into ${map}`, async () => (await this.#map(map)).set(key, value))
  }

  remove(map: string, key: string): Promise<void> {
    return this.#call(`remove from ${map}`, async () => (await this.#map(map)).delete(key))
  }

  entries(map: string): Promise<ReadonlyMap<string, string>> {
    return this.#call(`read ${map}`, async () => {
      const ours = new Map<string, string>()
      const all = (await (await this.#map(map)).entrySet()) as readonly [unknown, unknown][]
      for (const [key, value] of all) if (typeof key === 'string' && typeof value === 'string') ours.set(key, value)
      this.#noteForeign(map, all.length - ours.size)
      return ours
    })
  }

  async destroy({ rings, maps }: UnusedNames): Promise<void> {
    for (const name of rings) {
      this.#rings.get(name)?.close()
      this.#rings.delete(name)
      await this.#call(`destroy ${name}`, async () => (await this.#client.getRingbuffer(name)).destroy())
    }
    for (const name of maps) {
      this.#maps.delete(name)
      await this.#call(`destroy ${name}`, async () => (await this.#client.getMap(name)).destroy())
    }
  }

  memberVersions(): ReadonlyMap<string, string> {
    const members = this.#client.getCluster().getMembers() as unknown as readonly VersionedMember[]
    return new Map(members.map(({ address, version: { major, minor, patch } }) => [address.toString(), `${major}.${minor}.${patch}`]))
  }

  onDisturbance(listener: () => void): () => void {
    // A wrapper of its own, so that one function may be subscribed twice.
    const disturb: Disturb = () => listener()
    this.#listeners.add(disturb)
    return () => void this.#listeners.delete(disturb)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#listeners.clear()
    for (const ring of this.#rings.values()) ring.close()
    await within(this.#client.shutdown(), this.#callTimeoutMs).catch(() => undefined)
  }

  /** Told of when they become more: maps are read many times a second. */
  #noteForeign(map: string, count: number): void {
    const before = this.#foreign.get(map) ?? 0
    this.#foreign.set(map, count)
    if (count > before) this.#onForeign?.(count - before)
  }

  #ring(name: string): HazelcastRing {
    let ring = this.#rings.get(name)
    if (ring === undefined) {
      ring = new HazelcastRing(
        name,
        (what, call) => this.#call(what, call),
        () => this.#client.getRingbuffer<Buffer>(name),
      )
      this.#rings.set(name, ring)
    }
    return ring
  }

  #map(name: string): Promise<IMap<string, string>> {
    let map = this.#maps.get(name)
    if (map === undefined) {
      map = this.#client.getMap<string, string>(name).then(takingAnything)
      this.#maps.set(name, map)
      map.catch(() => this.#maps.delete(name))
    }
    return map
  }

  async #call<T>(what: string, call: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new ForebayError('FB_GRID_UNREACHABLE', `The grid did not ${what}: the client is closed.`)
    try {
      return await within(call(), this.#callTimeoutMs)
    } catch (cause) {
      if (isForebayError(cause)) throw cause
      throw new ForebayError('FB_GRID_UNREACHABLE', `The grid did not ${what}: ${sentenceOf(cause)}.`, { cause })
    }
  }
}

function clientConfig(options: HazelcastGridOptions, callTimeoutMs: number, listeners: ReadonlySet<Disturb>) {
  const disturb = () => listeners.forEach((listener) => listener())
  return {
    clusterName: options.clusterName,
    network: {
      clusterMembers: [...options.members],
      smartRouting: true,
      redoOperation: false,
      connectionTimeout: 3000,
      ...(options.tls === undefined
        ? {}
        : { ssl: { enabled: true, sslOptionsFactory: tlsOptions(new TlsIdentity(options.tls)), sslOptionsFactoryProperties: {} } }),
    },
    connectionStrategy: {
      // `asyncStart` would never connect to the other members.
      asyncStart: false,
      reconnectMode: ReconnectMode.ASYNC,
      connectionRetry: { initialBackoffMillis: 100, maxBackoffMillis: 1000, multiplier: 2, jitter: 0.2, clusterConnectTimeoutMillis: -1 },
    },
    lifecycleListeners: [disturb],
    membershipListeners: [{ memberRemoved: disturb }],
    metrics: { enabled: false },
    customLogger: clientLogger(options.log),
    properties: {
      // With it, a connection that closes under backpressure leaves promises that never settle.
      'hazelcast.client.autopipelining.enabled': false,
      // Without it, a write whose backup never answered counts as a success.
      'hazelcast.client.operation.fail.on.indeterminate.state': true,
      'hazelcast.client.operation.backup.timeout.millis': Math.min(2000, callTimeoutMs),
      // The client must not go on trying what its caller has given up.
      'hazelcast.client.invocation.timeout.millis': callTimeoutMs,
      'hazelcast.client.invocation.retry.pause.millis': 50,
      'hazelcast.client.heartbeat.interval': 1000,
      'hazelcast.client.heartbeat.timeout': 10_000,
    },
  }
}

/** Asked by the client at each connection. */
function tlsOptions(identity: TlsIdentity) {
  const { serverName } = identity
  return {
    init: () => Promise.resolve(),
    getSSLOptions: () => ({
      secureContext: identity.secureContext,
      ...(serverName === undefined ? {} : { servername: serverName }),
    }),
  }
}

function clientLogger(log: HazelcastGridOptions['log']) {
  const at = (level: 'debug' | 'warn' | 'error') => (source: string, message: string) => log?.(level, `${source}: ${message}`)
  return {
    log: (_level: number, source: string, message: string) => at('debug')(source, message),
    error: at('error'),
    warn: at('warn'),
    info: at('debug'),
    debug: () => undefined,
    trace: () => undefined,
  }
}

/** Rejects when `promise` is not settled within `timeMs`; its later outcome is ignored. */
function within<T>(promise: Promise<T>, timeMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${Math.round(timeMs)} ms`)), timeMs)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** The map, with what this client cannot read as undefined: by itself it fails a whole reading for one such key or value. */
function takingAnything(map: IMap<string, string>): IMap<string, string> {
  const reading = map as unknown as { toObject(data: unknown): unknown }
  const toObject = reading.toObject.bind(map)
  reading.toObject = (data) => {
    try {
      return toObject(data)
    } catch {
      return undefined
    }
  }
  return map
}

async function isAnyListening(members: readonly string[]): Promise<boolean> {
  const answers = await Promise.all(members.map(isListening))
  return answers.includes(true)
}

function isListening(member: string): Promise<boolean> {
  const colon = member.lastIndexOf(':')
  return new Promise((resolve) => {
    const socket = connect({ host: member.slice(0, colon), port: Number(member.slice(colon + 1)) })
    const settle = (isUp: boolean) => {
      socket.destroy()
      resolve(isUp)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
    socket.setTimeout(2000, () => settle(false))
  })
}
