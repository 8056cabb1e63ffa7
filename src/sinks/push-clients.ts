/**
 * The clients of one channel: a snapshot to each newcomer, then at most one frame per tick with what changed.
 *
 * Boundary: it decides what to send to whom; its owner ticks it and holds the values.
 * States of a client: *new* (waits for its snapshot), *in step* (gets the frame all others get, serialised once),
 * *behind* (its socket holds more than `bufferBytesMax`; the keys it missed are kept, not frames, and go out in frames of about
 * `bufferBytesMax` once the socket has drained; one that missed too many is new again), *dropped* (behind for `behindMsMax`:
 * closed with 1013 and the reason, and cut off a moment later, so that what it did not take is let go).
 * So a client costs at most its socket buffer of `bufferBytesMax`, one frame of its own of that size, and one set of keys. Snapshots
 * are shared: one is made for all who wait, however many ticks they wait, and those who get it late get what changed since.
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
/** Newcomers served in one tick; the others wait for the next. */
const newcomersMax = 50
/** A client that missed more keys gets a snapshot instead. */
const missedKeysMax = 10_000
/** How long a client that is dropped may still take the reason. */
const farewellMs = 1000
/** A frame is put together from pieces of about this length: one text of all could be longer than a text can be. */
const pieceCharsMax = 1 << 20

export class PushClients {
  readonly #options: PushClientsOptions
  readonly #clients = new Set<Client>()
  /** Dropped clients, and when they are cut off. */
  readonly #leaving = new Map<PushSocket, number>()
  /** For the newcomers that wait, with the keys that changed since it was made; undefined while nobody does. */
  #snapshot: { readonly frame: Buffer; readonly changed: Set<string> } | undefined
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
    socket.on('close', () => {
      this.#clients.delete(client)
      this.#leaving.delete(socket)
    })
  }

  changed(key: string): void {
    this.#changed.add(key)
  }

  /** Sends at most one frame to each client. After a failure the same keys count as changed again. */
  tick(): void {
    const changed = this.#changed
    this.#changed = new Set()
    this.#isWaitedFor = false
    try {
      this.#cutOff()
      this.#serve(changed)
    } catch (error) {
      for (const key of changed) this.#changed.add(key)
      this.#isWaitedFor = true
      throw error
    }
  }

  #serve(changed: ReadonlySet<string>): void {
    for (const key of changed) this.#snapshot?.changed.add(key)
    let update: Buffer | undefined
    let newcomers = 0
    for (const client of this.#clients) {
      if (client.socket.readyState !== open) continue
      const isFull = client.socket.bufferedAmount > this.#options.bufferBytesMax
      if (isFull) this.#fallBehind(client, changed)
      else if (client.isNew) {
        if (newcomers++ < newcomersMax) this.#welcome(client)
      } else if (client.behind) this.#catchUp(client, client.behind.keys, changed)
      else if (changed.size > 0) this.#send(client, (update ??= this.#frame('update', changed)))
    }
    if (newcomers > newcomersMax) this.#isWaitedFor = true
    else this.#snapshot = undefined
  }

  #welcome(client: Client): void {
    this.#snapshot ??= { frame: this.#frame('snapshot', this.#options.values.keys()), changed: new Set() }
    const { frame, changed } = this.#snapshot
    client.isNew = false
    this.#keepBehind(client, new Set(changed))
    this.#send(client, frame)
  }

  #catchUp(client: Client, missed: Set<string>, changed: ReadonlySet<string>): void {
    for (const key of changed) missed.add(key)
    const { bufferBytesMax, values } = this.#options
    const keys: string[] = []
    let chars = 0
    for (const key of missed) {
      if (chars >= bufferBytesMax) break
      chars += values.get(key)?.json.length ?? 0
      keys.push(key)
      missed.delete(key)
    }
    this.#keepBehind(client, missed)
    if (keys.length > 0) this.#send(client, this.#frame('update', keys))
  }

  /** What the client still misses goes out with the next ticks; its time counts anew, since its socket has drained. */
  #keepBehind(client: Client, keys: Set<string>): void {
    client.behind = keys.size === 0 ? undefined : { keys, sinceMs: this.#options.clock.now() }
    if (client.behind) this.#isWaitedFor = true
  }

  #fallBehind(client: Client, changed: ReadonlySet<string>): void {
    const { clock, bufferBytesMax, behindMsMax } = this.#options
    const nowMs = clock.now()
    client.behind ??= { keys: new Set(), sinceMs: nowMs }
    const { keys, sinceMs } = client.behind
    if (!client.isNew) for (const key of changed) keys.add(key)
    if (keys.size > missedKeysMax) {
      client.isNew = true
      keys.clear()
    }
    this.#isWaitedFor = true
    if (nowMs - sinceMs < behindMsMax) return
    this.#clients.delete(client)
    this.#dropped++
    client.socket.close(1013, `too slow: more than ${bufferBytesMax} bytes unsent for ${behindMsMax} ms`)
    this.#leaving.set(client.socket, nowMs + farewellMs)
  }

  #cutOff(): void {
    const nowMs = this.#options.clock.now()
    for (const [socket, atMs] of this.#leaving) {
      if (nowMs < atMs) this.#isWaitedFor = true
      else {
        this.#leaving.delete(socket)
        socket.terminate()
      }
    }
  }

  #send(client: Client, frame: Buffer): void {
    try {
      // The server does not mask, so that all clients share the bytes of one frame.
      client.socket.send(frame, { binary: false })
    } catch {
      // Whatever is wrong with one socket is no business of the others.
      this.#clients.delete(client)
      client.socket.terminate()
    }
  }

  #frame(type: 'snapshot' | 'update', keys: Iterable<string>): Buffer {
    const pieces: Buffer[] = []
    let text = `{"type":"${type}","channel":${JSON.stringify(this.#options.channel)},"values":[`
    let separator = ''
    for (const key of keys) {
      const value = this.#options.values.get(key)
      if (!value) continue
      text += `${separator}{"key":${JSON.stringify(key)},"value":${value.json},"partition":${value.partition},"offset":"${value.offset}"}`
      separator = ','
      if (text.length < pieceCharsMax) continue
      pieces.push(Buffer.from(text))
      text = ''
    }
    const last = Buffer.from(`${text}]}`)
    return pieces.length === 0 ? last : Buffer.concat([...pieces, last])
  }
}
