/**
 * The WebSocket sink: the latest value of every key, pushed to the clients of this node whichever node applied it.
 *
 * Boundary: jobs come in through `deliver`, sockets through `attach`; the grid carries values between nodes (a ring for
 * what just changed, a map for nodes that start later). All of it is a hint: each node holds every value itself.
 * `deliver` never waits for the grid: it applies here, marks the keys and returns; `follow` runs the loops that publish,
 * read, keep the map and push frames, and a grid that is away only lets marked keys wait (conflated, so bounded).
 * Invariant: an older value never replaces a newer one (`latest-values.ts`). Delivery is ephemeral: no watermark.
 */
import { sentenceOf } from '../../errors.ts'
import type { JobGrid } from '../../grid/job-grid.ts'
import { fanoutRingName, latestMapName } from '../../grid/queue-name.ts'
import type { JobLines } from '../../grid/segment.ts'
import type { Observer } from '../../observer.ts'
import type { Clock } from '../../schedule/clock.ts'
import { Wake } from '../../schedule/wake.ts'
import { latestLine } from './latest-line.ts'
import type { Channel } from './channel.ts'
import { LatestSnapshot } from './latest-snapshot.ts'
import { LatestValues, type LatestValue, unsentBytesMax } from './latest-values.ts'
import { decodeFanout, encodeFanout, newestOf, type LatestSeal } from './latest-wire.ts'
import { PushClients, type PushSocket, type PushView } from './push-clients.ts'
import type { DeliveringSink } from '../running-sink.ts'
import { decideAccess } from './channel-access.ts'
import type { ChannelRequest, WebSocketDefinition } from './web-socket-definition.ts'

const entryBytesMax = 65_536
const readWaitMs = 500
const writeIntervalMs = 250
const reconcileIntervalMs = 5000
const idleWaitMs = 250
const backoffMs = 500
/** A view that fails is told of this often at most. */
const viewFailureMs = 60_000

/** A value from before this node started, such as a row of a table. Older than any live value when it has no offset. */
export interface SeedValue {
  readonly key: string
  /** JSON text. */
  readonly json: string
  readonly partition?: number
  readonly offset?: bigint
}

export interface WebSocketOptions {
  readonly definition: Pick<WebSocketDefinition, 'channel' | 'latestBy' | 'authorize'>
  readonly grid: JobGrid
  readonly clock: Clock
  readonly observer: Observer
  /** Names deployment, pipeline, topic and epoch. */
  readonly scope: string
  /** Key of the HMAC on what goes through the grid: the one of the segments. */
  readonly secret: string
  readonly nodeId: string
  /** Asked once at start, again after a failure. */
  readonly seed?: () => Promise<readonly SeedValue[]>
  /** Least time between two frames to a client. Default 10. */
  readonly frameIntervalMs?: number
  /** Further keys are not shown. Default 100000. */
  readonly keysMax?: number
  /** Nor is what would take more memory. Default 64 MiB; the memory bound of the node counts the default. */
  readonly bytesMax?: number
  /** Unsent bytes above which a client is conflated. Default 1 MiB. */
  readonly bufferBytesMax?: number
  /** Unsent bytes of all clients. Default 32 MiB; the memory bound of the node counts the default. */
  readonly unsentBytesMax?: number
  /** How long a client may stay conflated before it is dropped with 1013. Default 10000. */
  readonly behindMsMax?: number
}

export function createWebSocket(options: WebSocketOptions): WebSocketSink {
  return new WebSocketSink(options)
}

export class WebSocketSink implements DeliveringSink, Channel {
  readonly delivery = 'ephemeral'
  readonly label: string
  readonly #options: WebSocketOptions
  readonly #ring: string
  readonly #seal: LatestSeal
  readonly #values: LatestValues
  readonly #clients: PushClients
  readonly #snapshot: LatestSnapshot
  readonly #unpublished = new Set<string>()
  readonly #pushWake: Wake
  readonly #publishWake: Wake
  readonly #snapshotWake: Wake
  #isReconcileDue = true
  #isFullTold = false
  #viewFailureMs = -Infinity

  constructor(options: WebSocketOptions) {
    const { definition, clock, grid, scope, secret } = options
    this.#options = options
    this.label = `channel ${definition.channel}`
    this.#ring = fanoutRingName(scope, definition.channel)
    this.#seal = { secret, place: this.#ring }
    this.#values = new LatestValues(options.keysMax ?? 100_000, options.bytesMax)
    this.#clients = new PushClients({
      channel: definition.channel,
      clock,
      values: this.#values,
      bufferBytesMax: options.bufferBytesMax ?? 1_048_576,
      unsentBytesMax: options.unsentBytesMax ?? unsentBytesMax,
      behindMsMax: options.behindMsMax ?? 10_000,
      onViewFailure: (error) => this.#tellViewFailure(error),
    })
    this.#snapshot = new LatestSnapshot({
      grid,
      map: latestMapName(scope, definition.channel),
      secret,
      values: this.#values,
      apply: (key, value) => void this.#apply(key, value),
      onForeign: () => options.observer.count('foreign', 1, definition.channel),
    })
    this.#pushWake = new Wake(clock)
    this.#publishWake = new Wake(clock)
    this.#snapshotWake = new Wake(clock)
  }

  /** What the node's status shows. */
  get stats(): { channel: string; keys: number; clients: number; dropped: number } {
    return {
      channel: this.#options.definition.channel,
      keys: this.#values.size,
      clients: this.#clients.size,
      dropped: this.#clients.dropped,
    }
  }

  /** As `latestLine`. Throws FB_BAD_JOB. */
  encode(job: unknown): string {
    return latestLine(this.#options.definition, job)
  }

  deliver(jobs: readonly JobLines[]): Promise<void> {
    for (const [key, value] of newestOf(jobs)) {
      if (!this.#apply(key, value)) continue
      this.#unpublished.add(key)
      this.#snapshot.changed(key)
    }
    if (this.#unpublished.size > 0) this.#publishWake.wake()
    return Promise.resolve()
  }

  /** What the client may see, or false. Throws what the pipeline's `authorize` threw. */
  authorize(request: ChannelRequest): ReturnType<typeof decideAccess> {
    return decideAccess(this.#options.definition.authorize, request)
  }

  /** Takes a client; it gets its snapshot, or that of the keys in its view, from the next tick on. */
  attach(socket: PushSocket, view?: PushView): void {
    this.#clients.add(socket, view)
    this.#pushWake.wake()
  }

  /** Runs until `signal` aborts, on every node, whether it owns queues or not. */
  async follow(signal: AbortSignal): Promise<void> {
    const stop = new AbortController()
    const wakes = [this.#pushWake, this.#publishWake, this.#snapshotWake]
    const end = () => {
      stop.abort()
      for (const wake of wakes) wake.wake()
    }
    if (signal.aborted) return
    signal.addEventListener('abort', end, { once: true })
    const unsubscribe = this.#options.grid.onDisturbance(() => {
      this.#isReconcileDue = true
      this.#snapshotWake.wake()
    })
    const loops = [
      this.#push(stop.signal),
      this.#publish(stop.signal),
      this.#read(stop.signal),
      this.#keepSnapshot(stop.signal),
      this.#seed(stop.signal),
    ]
    try {
      await Promise.all(loops)
    } finally {
      end()
      unsubscribe()
      signal.removeEventListener('abort', end)
      await Promise.allSettled(loops)
    }
  }

  #apply(key: string, value: LatestValue): boolean {
    const verdict = this.#values.apply(key, value)
    if (verdict === 'full' && !this.#isFullTold) {
      this.#isFullTold = true
      const { size: keys, bytes } = this.#values
      this.#options.observer.log('warn', `${this.label} is full with ${keys} keys of ${bytes} bytes; what does not fit is not shown`, {
        key,
      })
    }
    if (verdict !== 'taken') return false
    this.#clients.changed(key)
    this.#pushWake.wake()
    return true
  }

  #tellViewFailure(error: unknown): void {
    const { clock, observer } = this.#options
    if (clock.now() - this.#viewFailureMs < viewFailureMs) return
    this.#viewFailureMs = clock.now()
    observer.log('warn', `${this.label}: what a client may see could not be decided, so it was sent away: ${sentenceOf(error)}`)
  }

  #push(signal: AbortSignal): Promise<void> {
    const { clock, frameIntervalMs = 10 } = this.#options
    return this.#repeat(signal, 'push', async () => {
      await this.#pushWake.wait(idleWaitMs)
      if (!this.#clients.needsTick) return
      this.#clients.tick()
      const nextMs = clock.now() + frameIntervalMs
      // A timer may fire a fraction of a millisecond early.
      while (clock.now() < nextMs && !signal.aborted) await clock.sleep(nextMs - clock.now(), signal)
      if (this.#clients.needsTick) this.#pushWake.wake()
    })
  }

  #publish(signal: AbortSignal): Promise<void> {
    return this.#repeat(signal, 'publish', async () => {
      await this.#publishWake.wait(idleWaitMs)
      const keys = [...this.#unpublished]
      this.#unpublished.clear()
      try {
        const values = keys.map((key) => [key, this.#values.get(key)!] as const)
        for (const entry of encodeFanout(this.#seal, values, entryBytesMax)) await this.#options.grid.append(this.#ring, entry)
      } catch (error) {
        for (const key of keys) this.#unpublished.add(key)
        throw error
      }
    })
  }

  #read(signal: AbortSignal): Promise<void> {
    // From the head: the ring holds what the map, written behind, does not have yet.
    let next = 0n
    return this.#repeat(signal, 'read', async () => {
      const { entries, nextSequence } = await this.#options.grid.read(this.#ring, next, { countMax: 200, waitMs: readWaitMs })
      if (entries.length === 0) return
      const isJump = nextSequence - BigInt(entries.length) !== next
      next = nextSequence
      for (const entry of entries) {
        const values = decodeFanout(this.#seal, entry)
        if (values) for (const [key, value] of values) this.#apply(key, value)
        else this.#options.observer.count('foreign', 1, this.#options.definition.channel)
      }
      // Entries were overwritten before they were read, or the ring is a new one.
      if (isJump) this.#isReconcileDue = true
    })
  }

  #keepSnapshot(signal: AbortSignal): Promise<void> {
    let lookedMs = this.#options.clock.now()
    return this.#repeat(signal, 'keep the snapshot', async () => {
      const nowMs = this.#options.clock.now()
      if (this.#isReconcileDue || nowMs - lookedMs >= reconcileIntervalMs) {
        this.#isReconcileDue = false
        lookedMs = nowMs
        await this.#snapshot.reconcile().catch((error: unknown) => {
          this.#isReconcileDue = true
          throw error
        })
      }
      await this.#snapshot.write()
      await this.#snapshotWake.wait(writeIntervalMs)
    })
  }

  async #seed(signal: AbortSignal): Promise<void> {
    const { seed } = this.#options
    let isSeeded = seed === undefined
    if (!seed) return
    await this.#repeat(
      signal,
      'seed',
      async () => {
        for (const { key, json, partition = -1, offset = -1n } of await seed())
          this.#apply(key, { partition, offset, timeMs: 0, json: JSON.stringify(JSON.parse(json)) })
        isSeeded = true
      },
      () => isSeeded,
    )
  }

  /** Repeats `body`; a failure is told once an outage and waited out. */
  async #repeat(signal: AbortSignal, what: string, body: () => Promise<void>, isDone = () => false): Promise<void> {
    const { clock, observer, nodeId } = this.#options
    let isFailing = false
    while (!signal.aborted && !isDone()) {
      try {
        await body()
        isFailing = false
      } catch (error) {
        if (!isFailing && !signal.aborted) observer.log('warn', `${this.label} cannot ${what}: ${sentenceOf(error)}`, { node: nodeId })
        isFailing = true
        await clock.sleep(backoffMs, signal)
      }
    }
  }
}
