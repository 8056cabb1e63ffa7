/**
 * The clients of one channel: a snapshot to each newcomer, then at most one round of frames a tick with what changed.
 *
 * Boundary: it decides what to send to whom; its owner ticks it and holds the values, `PushCopy` makes the frames.
 * States of a client: *in step* (gets the frames all others get, made once), *sweeping* (new, or was behind: it goes through
 * the keys that changed since the version it has, a piece at a time as its socket takes them; a newcomer's version is 0, so it takes the
 * pieces of the shared copy), *full* (its socket holds more than `bufferBytesMax`: nothing is sent to it), *dropped* (full for
 * `behindMsMax`, or without any progress while the channel is short of memory: closed with 1013 and the reason, and cut off a moment
 * later, so that what it did not take is let go).
 * So a client costs a few numbers besides what its socket holds, and what all sockets hold is bounded by `unsentBytesMax`: at the bound
 * frames wait, whoever makes no progress is dropped, and the others go on.
 * A client with a view of its own (keys it asked for, or may see) gets frames of its own.
 */
import type { Clock } from '../../schedule/clock.ts'
import { PushCopy, pieceChars, type PushValues } from './push-copy.ts'
import { Unsent } from './unsent.ts'

/** What is needed of a WebSocket. */
export interface PushSocket {
  readonly readyState: number
  readonly bufferedAmount: number
  /** `done` is called once the frame has left the process, or never will. */
  send(data: Buffer, options: { binary: boolean }, done: () => void): void
  close(code: number, reason: string): void
  terminate(): void
  on(event: 'close', listener: () => void): unknown
}

/** What one client sees of a channel. Default: everything. */
export interface PushView {
  /** Only these keys. */
  readonly asked?: readonly string[]
  /** Only keys of which this says true; a client of which it throws is sent away. */
  readonly allows?: (key: string) => boolean
  /** Whether its socket holds a copy of its own of what it has not sent, as one that encrypts does. Default false. */
  readonly isCopying?: boolean
}

export interface PushClientsOptions {
  readonly channel: string
  readonly clock: Pick<Clock, 'now'>
  readonly values: PushValues
  /** Bytes a socket may hold unsent before its client counts as full. */
  readonly bufferBytesMax: number
  /** Bytes all sockets together may hold unsent. */
  readonly unsentBytesMax: number
  /** How long a client may stay full. */
  readonly behindMsMax: number
  /** Told what a view's `allows` threw. */
  readonly onViewFailure: (error: unknown) => void
}

interface Sweep {
  /** The client has everything up to this version. */
  readonly since: number
  /** What it will have everything up to once the sweep, which begins at that version, is through. */
  next: number
  /** Shelf and key of it to go on with. */
  at: number
  key: number
  /** Whether a frame was sent that said there is more to come. */
  isBegun: boolean
}

interface Client {
  readonly socket: PushSocket
  readonly view: PushView
  /** Undefined: in step. */
  sweep: Sweep | undefined
  fullSinceMs: number | undefined
  /** Frames the socket holds, oldest first. */
  readonly held: Buffer[]
  /** When it last took a frame, or had none to take. */
  progressMs: number
}

const open = 1
/** Frames a socket may hold: many small ones cost more than their bytes. */
const heldMax = 256
/** Work of one tick for clients that sweep, in characters of frames: so that a rush of them does not hold up everything else. */
const workMax = 16 * 1024 * 1024
/** To make a frame costs more than to send one. */
const makingFactor = 4
/** To look at a key, which asks the pipeline's own code, costs as much as to send this. */
const lookChars = 256
/** How long a client may make no progress while memory is scarce. */
const stalledMs = 1000
/** How long a client that is dropped may still take the reason. */
const farewellMs = 1000

export class PushClients {
  readonly #options: PushClientsOptions
  readonly #clients = new Set<Client>()
  /** Dropped clients, and when they are cut off. */
  readonly #leaving = new Map<PushSocket, number>()
  readonly #copy: PushCopy
  readonly #unsent: Unsent
  #changed = new Set<string>()
  /** Clients that sweep, are full or leave: they need a look even when nothing changed. */
  #isWaitedFor = false
  #dropped = 0
  #workLeft = 0

  constructor(options: PushClientsOptions) {
    const { channel, clock, values, unsentBytesMax } = options
    this.#options = options
    this.#copy = new PushCopy({ channel, clock, values, onSplit: (index, keysLeft) => this.#onSplit(index, keysLeft) })
    this.#unsent = new Unsent(unsentBytesMax)
  }

  get size(): number {
    return this.#clients.size
  }

  /** Clients dropped for being slow. */
  get dropped(): number {
    return this.#dropped
  }

  /** What sockets hold unsent. */
  get unsentBytes(): number {
    return this.#unsent.bytes
  }

  /** Whether a tick would have something to do. */
  get needsTick(): boolean {
    return this.#changed.size > 0 || this.#isWaitedFor
  }

  add(socket: PushSocket, view: PushView = {}): void {
    const sweep = { since: 0, next: 0, at: 0, key: 0, isBegun: false }
    const client: Client = { socket, view, sweep, fullSinceMs: undefined, held: [], progressMs: this.#options.clock.now() }
    this.#clients.add(client)
    this.#isWaitedFor = true
    socket.on('close', () => {
      this.#clients.delete(client)
      this.#leaving.delete(socket)
      for (const frame of client.held.splice(0)) this.#unsent.release(frame, view.isCopying === true)
    })
  }

  changed(key: string): void {
    this.#changed.add(key)
  }

  /** Sends what changed, and what is left for those who wait. After a failure the same keys count as changed again. */
  tick(): void {
    const changed = this.#changed
    this.#changed = new Set()
    this.#isWaitedFor = false
    this.#workLeft = workMax
    try {
      this.#cutOff()
      if (this.#clients.size === 0) return this.#copy.clear()
      if (this.#unsent.isScarce) this.#relieve()
      this.#copy.stamp(changed)
      this.#serve(changed)
    } catch (error) {
      for (const key of changed) this.#changed.add(key)
      this.#isWaitedFor = true
      throw error
    }
  }

  #serve(changed: ReadonlySet<string>): void {
    let update: Buffer[] | undefined
    for (const client of this.#clients) {
      if (client.socket.readyState !== open) continue
      if (this.#isFull(client)) this.#waitFor(client, changed)
      else if (client.sweep !== undefined) this.#goOn(client, client.sweep)
      else if (changed.size > 0) {
        const frames = isPrivate(client.view) ? this.#copy.frames(this.#visible(client, changed)) : (update ??= this.#copy.frames(changed))
        if (!this.#sendAll(client, frames)) this.#fallBehind(client)
      }
    }
  }

  #isFull({ socket, held }: Client): boolean {
    return held.length > heldMax || socket.bufferedAmount > this.#options.bufferBytesMax
  }

  #waitFor(client: Client, changed: ReadonlySet<string>): void {
    const { clock, bufferBytesMax, behindMsMax } = this.#options
    const nowMs = clock.now()
    if (client.sweep === undefined && changed.size > 0) this.#fallBehind(client)
    this.#isWaitedFor = true
    client.fullSinceMs ??= nowMs
    if (nowMs - client.fullSinceMs >= behindMsMax)
      this.#drop(client, `too slow: more than ${bufferBytesMax} bytes unsent for ${behindMsMax} ms`)
  }

  /** It lacks what changed in this tick. */
  #fallBehind(client: Client): void {
    const { version } = this.#copy
    client.sweep = { since: version - 1, next: version, at: 0, key: 0, isBegun: false }
    this.#isWaitedFor = true
  }

  /** Sends frames while there is room; tells whether all of them went out. */
  #sendAll(client: Client, frames: readonly Buffer[]): boolean {
    for (const frame of frames) {
      // What a socket that holds nothing is given goes to the system at once.
      if (this.#isFull(client) || (client.held.length > 0 && !this.#hasRoom(client, frame))) return false
      this.#send(client, frame)
    }
    return true
  }

  #hasRoom({ view }: Client, frame: Buffer): boolean {
    return this.#unsent.hasRoom(this.#unsent.costOf(frame, view.isCopying === true))
  }

  /** Goes on with a sweep as far as the socket, the memory and this tick allow. */
  #goOn(client: Client, first: Sweep): void {
    client.fullSinceMs = undefined
    let sweep: Sweep = first
    if (sweep.at === 0 && sweep.key === 0) sweep.next = this.#copy.version
    for (;;) {
      if (this.#workLeft <= 0 || this.#isFull(client) || !this.#unsent.hasRoom(pieceChars)) return void (this.#isWaitedFor = true)
      if (this.#step(client, sweep)) continue
      if (client.socket.readyState !== open || !this.#clients.has(client)) return
      if (sweep.isBegun) this.#send(client, this.#copy.ending)
      client.sweep = undefined
      if (sweep.next >= this.#copy.version) return
      sweep = client.sweep = { since: sweep.next, next: this.#copy.version, at: 0, key: 0, isBegun: false }
    }
  }

  /** Sends the next frame of a sweep; false when there is none. */
  #step(client: Client, sweep: Sweep): boolean {
    const isNew = sweep.since === 0
    if (!isPrivate(client.view) && isNew) return this.#sendPiece(client, sweep)
    const isFirst = isNew && sweep.at === 0 && sweep.key === 0
    const keys = this.#gather(client, sweep)
    if (!this.#clients.has(client)) return false
    if (keys.length === 0 && !isFirst) return this.#isLeft(client, sweep)
    if (isFirst) sweep.isBegun = this.#isLeft(client, sweep)
    const frame = this.#copy.frame(isFirst ? 'snapshot' : 'update', keys, isFirst && sweep.isBegun ? false : undefined)
    this.#workLeft -= frame.length * makingFactor
    this.#send(client, frame)
    return true
  }

  #sendPiece(client: Client, sweep: Sweep): boolean {
    if (sweep.at >= this.#copy.shelves.length) return false
    this.#workLeft -= this.#copy.workOf(sweep.at) * makingFactor
    const { frame, version, isBeginning } = this.#copy.piece(sweep.at)
    sweep.next = Math.min(sweep.next, version)
    sweep.isBegun ||= isBeginning
    sweep.at++
    this.#workLeft -= frame.length
    this.#send(client, frame)
    return true
  }

  /** The next keys for a frame of the client's own; moves the sweep behind them. */
  #gather(client: Client, sweep: Sweep): string[] {
    const keys: string[] = []
    const asked = client.view.asked
    let chars = 0
    for (; this.#isLeft(client, sweep); sweep.at++, sweep.key = 0) {
      const shelf = this.#copy.shelves[sweep.at]!
      if (asked === undefined && shelf.version <= sweep.since) continue
      const source = asked ?? shelf.keys
      while (sweep.key < source.length) {
        if (chars >= pieceChars || this.#workLeft <= 0) return keys
        const key = source[sweep.key++]!
        this.#workLeft -= lookChars
        if ((sweep.since > 0 || asked !== undefined) && !this.#copy.isNewer(key, sweep.since)) continue
        if (!this.#allows(client, key)) continue
        keys.push(key)
        chars += this.#copy.charsOf(key)
      }
    }
    return keys
  }

  /** Whether the sweep has still keys to look at. */
  #isLeft({ view }: Client, sweep: Sweep): boolean {
    return sweep.at < (view.asked === undefined ? this.#copy.shelves.length : 1)
  }

  #visible(client: Client, changed: ReadonlySet<string>): string[] {
    const { asked } = client.view
    const candidates = asked === undefined ? [...changed] : asked.filter((key) => changed.has(key))
    return candidates.filter((key) => this.#allows(client, key))
  }

  #allows(client: Client, key: string): boolean {
    const { allows } = client.view
    if (allows === undefined) return true
    if (!this.#clients.has(client)) return false
    try {
      // Anything but true, a promise for one, is no permission.
      return allows(key) === true
    } catch (error) {
      this.#clients.delete(client)
      this.#leaving.set(client.socket, this.#options.clock.now() + farewellMs)
      this.#isWaitedFor = true
      client.socket.close(1011, 'what this client may see could not be decided')
      this.#options.onViewFailure(error)
      return false
    }
  }

  #onSplit(index: number, keysLeft: number): void {
    for (const { sweep, view } of this.#clients) {
      if (sweep === undefined || view.asked !== undefined) continue
      if (sweep.at > index) sweep.at++
      else if (sweep.at === index && sweep.key > keysLeft) {
        sweep.at++
        sweep.key -= keysLeft
      }
    }
  }

  /** Memory is scarce: of those who take nothing the ones that stand longest have to go. */
  #relieve(): void {
    const nowMs = this.#options.clock.now()
    const stalled = [...this.#clients].filter(({ held, progressMs }) => held.length > 0 && nowMs - progressMs >= stalledMs)
    const longest = stalled.sort((a, b) => a.progressMs - b.progressMs).slice(0, Math.ceil(stalled.length / 4))
    for (const client of longest) this.#drop(client, `too slow: nothing taken for ${nowMs - client.progressMs} ms, and memory is scarce`)
  }

  #drop(client: Client, reason: string): void {
    this.#clients.delete(client)
    this.#dropped++
    client.socket.close(1013, reason)
    this.#leaving.set(client.socket, this.#options.clock.now() + farewellMs)
    this.#isWaitedFor = true
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
    const { socket, held, view } = client
    const { clock } = this.#options
    const isCopy = view.isCopying === true
    if (held.length === 0) client.progressMs = clock.now()
    held.push(frame)
    this.#unsent.hold(frame, isCopy)
    const done = () => {
      const [oldest] = held.splice(0, 1)
      if (oldest === undefined) return
      this.#unsent.release(oldest, isCopy)
      client.progressMs = clock.now()
    }
    try {
      // The server does not mask, so that all clients share the bytes of one frame.
      socket.send(frame, { binary: false }, done)
    } catch {
      // Whatever is wrong with one socket is no business of the others.
      this.#clients.delete(client)
      done()
      socket.terminate()
    }
  }
}

function isPrivate({ asked, allows }: PushView): boolean {
  return asked !== undefined || allows !== undefined
}
