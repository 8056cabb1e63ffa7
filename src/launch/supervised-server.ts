/**
 * Keeps one server of the launcher alive: when it ends by itself it is started again, after a pause that doubles from
 * 100 ms to 5 s and begins anew once the server has lived for 10 s.
 *
 * States: running; waiting or starting again (`current` still tells the last one); stopped (`stop` was called, for good).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { sentenceOf } from '../errors.ts'
import { Backoff } from '../schedule/backoff.ts'
import { describeExit, type ServerHandle } from './server.ts'

export interface SupervisedServerOptions<T extends ServerHandle> {
  readonly start: () => Promise<T>
  readonly log: (line: string) => void
  /** Told after each restart. */
  readonly onRestart: (server: T) => void
}

const healthyMs = 10_000

export class SupervisedServer<T extends ServerHandle = ServerHandle> {
  readonly #options: SupervisedServerOptions<T>
  readonly #stop = new AbortController()
  readonly #watching: Promise<void>
  #current: T
  #restarts = 0

  private constructor(first: T, options: SupervisedServerOptions<T>) {
    this.#options = options
    this.#current = first
    this.#watching = this.#watch()
  }

  /** Starts the server. Throws what its first start throws: only a server that was up once is started again. */
  static async start<T extends ServerHandle>(options: SupervisedServerOptions<T>): Promise<SupervisedServer<T>> {
    return new SupervisedServer(await options.start(), options)
  }

  /** The server, or the last one while none runs. */
  get current(): T {
    return this.#current
  }

  get restarts(): number {
    return this.#restarts
  }

  /** Ends the server for good. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#current.stop()
    await this.#watching
  }

  async #watch(): Promise<void> {
    const { log, onRestart } = this.#options
    const backoff = new Backoff(100, 5000)
    const isStopped = () => this.#stop.signal.aborted
    for (;;) {
      const startedMs = performance.now()
      const exit = await this.#current.exited
      if (isStopped()) return
      if (performance.now() - startedMs > healthyMs) backoff.reset()
      log(`${this.#current.name} ended (${describeExit(exit)}) and is started again`)
      const next = await this.#startAgain(backoff)
      if (next === undefined) return
      this.#current = next
      this.#restarts++
      // Stopped during the start: the handle that `stop` knew was the old one.
      if (isStopped()) return void (await next.stop())
      log(`${next.name} runs again (process ${next.pid})`)
      onRestart(next)
    }
  }

  async #startAgain(backoff: Backoff): Promise<T | undefined> {
    const { signal } = this.#stop
    for (;;) {
      await sleep(backoff.next(), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return undefined
      try {
        return await this.#options.start()
      } catch (error) {
        this.#options.log(`${this.#current.name} could not be started again and is tried anew: ${sentenceOf(error)}`)
      }
    }
  }
}
