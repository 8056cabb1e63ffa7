/**
 * The clients of one channel: a snapshot to each newcomer, then at most one frame per tick with what changed.
 *
 * Boundary: it decides what to send to whom; its owner ticks it and holds the values.
 * States of a client: *new* (waits for its snapshot), *in step* (gets the frame all others get, serialised once),
 * *behind* (its socket holds more than `bufferBytesMax`; the keys it missed are kept, not frames, and go out as one frame
 * once the socket has drained), *dropped* (behind for `behindMsMax`: closed with 1013 and the reason).
 * So a client costs at most its socket buffer of `bufferBytesMax` plus one frame, and one set of keys.
 */
import type { Clock } from '../schedule/clock.ts'
import type { LatestValue } from './latest-values.ts'

/** What is needed of a WebSocket. */
export interface PushSocket {
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: Buffer, options: { binary: boolean }): void
  close(code: number, reason: string): void
  terminate(): void
  on(event: 'close', listener: () => void): unknown
}

export interface PushClientsOptions {
  readonly channel: string
  readonly clock: Clock
  readonly values: { get(key: string): LatestValue | undefined; keys(): Iterable<string> }
  /** Bytes a socket may hold unsent before its client counts as behind. */
  readonly bufferBytesMax: number
  /** How long a client may stay behind. */
  readonly behindMsMax: number
}

interface Client {
  readonly socket: PushSocket
  isNew: boolean
  /** Keys it has missed, since when; undefined while in step. */
  behind: { readonly keys: Set<string>; readonly sinceMs: number } | undefined
}

const open = 1

export class PushClients {
  readonly #options: PushClientsOptions
  readonly #clients = new Set<Client>()
  #changed = new Set<string>()
  /** New clients, or clients behind: they need a look even when nothing changed. */
  #isWaitedFor = false
  #dropped = 0

  constructor(options: PushClientsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#clients.size
  }

  /** Clients dropped for being slow. */
  get dropped(): number {
    return this.#dropped
  }

  /** Whether a tick would have something to do. */
  get needsTick(): boolean {
    return this.#changed.size > 0 || this.#isWaitedFor
  }

  add(socket: PushSocket): void {
    const client: Client = { socket, isNew: true, behind: undefined }
    this.#clients.add(client)
    this.#isWaitedFor = true
    socket.on('close', () => this.#clients.delete(client))
  }

  changed(key: string): void {
    this.#changed.add(key)
  }

  /** Sends at most one frame to each client. */
  tick(): void {
    const changed = this.#changed
    this.#changed = new Set()
    this.#isWaitedFor = false
    const frames = { update: undefined as Buffer | undefined, snapshot: undefined as Buffer | undefined }
    for (const client of this.#clients) {
      if (client.socket.readyState !== open) continue
      const isFull = client.socket.bufferedAmount > this.#options.bufferBytesMax
      if (isFull) this.#fallBehind(client, changed)
      else if (client.isNew) {
        client.isNew = false
        client.behind = undefined
        send(client, (frames.snapshot ??= this.#frame('snapshot', this.#options.values.keys())))
      } else if (client.behind) {
        for (const key of changed) client.behind.keys.add(key)
        const missed = client.behind.keys
        client.behind = undefined
        if (missed.size > 0) send(client, this.#frame('update', missed))
      } else if (changed.size > 0) send(client, (frames.update ??= this.#frame('update', changed)))
    }
  }

  #fallBehind(client: Client, changed: ReadonlySet<string>): void {
    const nowMs = this.#options.clock.now()
    client.behind ??= { keys: new Set(), sinceMs: nowMs }
    for (const key of changed) client.behind.keys.add(key)
    this.#isWaitedFor = true
    if (nowMs - client.behind.sinceMs < this.#options.behindMsMax) return
    this.#clients.delete(client)
    this.#dropped++
    client.socket.close(1013, `too slow: more than ${this.#options.bufferBytesMax} bytes unsent for ${this.#options.behindMsMax} ms`)
  }

  #frame(type: 'snapshot' | 'update', keys: Iterable<string>): Buffer {
    const values: string[] = []
    for (const key of keys) {
      const value = this.#options.values.get(key)
      if (value)
        values.push(`{"key":${JSON.stringify(key)},"value":${value.json},"partition":${value.partition},"offset":"${value.offset}"}`)
    }
    return Buffer.from(`{"type":"${type}","channel":${JSON.stringify(this.#options.channel)},"values":[${values.join(',')}]}`)
  }
}

function send(client: Client, frame: Buffer): void {
  // The server does not mask, so that all clients share the bytes of one frame.
  client.socket.send(frame, { binary: false })
}
