/**
 * A TCP relay that makes a server slow: all connections together pass at most so many bytes a second towards it, in turn and
 * in small pieces, and what waits is not read, so that the sender feels it. Answers pass freely.
 */
import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

const turnMs = 10
const pieceBytes = 2048

interface Relay {
  readonly near: Socket
  readonly far: Socket
}

export class ThrottledProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #relays = new Set<Relay>()
  readonly #timer: NodeJS.Timeout
  #target: number
  #bytesPerSecond = Number.POSITIVE_INFINITY
  #credit = 0
  #turn = 0
  #passedMs = performance.now()
  /** Bytes passed towards the server so far. */
  passedBytes = 0

  private constructor(server: Server, target: number) {
    this.#server = server
    this.#target = target
    server.on('connection', (near) => this.#relay(near))
    this.#timer = setInterval(() => this.#pass(), turnMs)
  }

  /** Relays connections of a free port of 127.0.0.1 to port `target`. */
  static async start(target: number): Promise<ThrottledProxy> {
    // A socket that is not read tells its sender so; it may have only little on the way then.
    const server = createServer({ highWaterMark: pieceBytes })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new ThrottledProxy(server, target)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** `Infinity` sets it free. */
  limit(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
    this.#credit = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    for (const { near, far } of this.#relays) {
      near.destroy()
      far.destroy()
    }
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #relay(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1')
    const relay = { near, far }
    this.#relays.add(relay)
    const end = () => {
      this.#relays.delete(relay)
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) socket.setNoDelay(true).on('error', end).on('close', end)
    far.pipe(near)
    near.on('readable', () => {
      if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) this.#pass()
    })
  }

  #pass(): void {
    const nowMs = performance.now()
    const isFree = this.#bytesPerSecond === Number.POSITIVE_INFINITY
    this.#credit = isFree ? Number.POSITIVE_INFINITY : this.#credit + ((nowMs - this.#passedMs) * this.#bytesPerSecond) / 1000
    // What was not used is not saved up.
    if (!isFree) this.#credit = Math.min(this.#credit, this.#bytesPerSecond / 10)
    this.#passedMs = nowMs
    const waiting = [...this.#relays]
    let idle = 0
    while (this.#credit > 0 && idle < waiting.length) {
      idle = this.#passPiece(waiting[this.#turn++ % waiting.length]!) ? 0 : idle + 1
    }
  }

  #passPiece({ near, far }: Relay): boolean {
    const ready = near.readableLength
    if (ready === 0 || far.writableNeedDrain) return false
    const piece = near.read(Math.min(ready, pieceBytes)) as Buffer | null
    if (piece === null) return false
    far.write(piece)
    this.passedBytes += piece.length
    this.#credit -= piece.length
    return true
  }
}
