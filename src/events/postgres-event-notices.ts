/**
 * Tells cursors at once when a partition got events.
 *
 * Job: one LISTEN connection for all cursors of a log, made anew after a loss.
 * Boundary: a notice only wakes; what there is to read is always asked of the tables, so a lost notice costs time, not events.
 * States: *connecting*, *listening*, *lost* (waiting to connect again), *stopped*.
 */
import pg from 'pg'
import { connectionSettings } from './postgres-event-connection.ts'

/** The channel of NOTIFY; the payload is `topic number:partition`. */
export const eventChannel = 'forebay_log_events'

const retryMs = 500
/** How long a wait lasts at most while notices come, and while they do not. */
const listeningWaitMs = 2_000
const deafWaitMs = 50

interface Waiter {
  readonly payload: string
  readonly wake: () => void
}

export class PostgresEventNotices {
  readonly #url: string
  readonly #running: Promise<void>
  readonly #waiters = new Set<Waiter>()
  readonly #counts = new Map<string, number>()
  #isListening = false
  #isStopped = false
  /** Ends whatever the connection loop waits for. */
  #wakeLoop: (() => void) | null = null

  constructor(url: string) {
    this.#url = url
    this.#running = this.#run()
  }

  /** How many notices `payload` has had; taken before a look at the tables and given to `wait`, so that none is missed between. */
  count(payload: string): number {
    return this.#counts.get(payload) ?? 0
  }

  /** Resolves at the first notice after `seen`, after `waitMs`, at `wake`, or earlier: the caller looks again. */
  wait(payload: string, seen: number, waitMs: number): { readonly done: Promise<void>; readonly wake: () => void } {
    if (this.count(payload) !== seen || this.#isStopped) return { done: Promise.resolve(), wake: () => undefined }
    let wake = () => undefined as void
    const done = new Promise<void>((resolve) => {
      wake = () => {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
        resolve()
      }
      const timer = setTimeout(wake, Math.min(waitMs, this.#isListening ? listeningWaitMs : deafWaitMs))
      const waiter = { payload, wake }
      this.#waiters.add(waiter)
    })
    return { done, wake }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    this.#wakeLoop?.()
    for (const { wake } of [...this.#waiters]) wake()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const client = new pg.Client(connectionSettings(this.#url))
      const lost = new Promise<void>((resolve) => {
        this.#wakeLoop = resolve
        client.on('error', () => resolve())
        client.on('end', () => resolve())
      })
      client.on('notification', ({ payload = '' }) => this.#notice(payload))
      try {
        await client.connect()
        await client.query(`listen ${eventChannel}`)
        this.#isListening = true
        // What came while nobody listened had no notice.
        for (const { wake } of [...this.#waiters]) wake()
        await lost
      } catch {
        // The cursors meet the same trouble in their queries and say so; here it is only waited out.
      }
      this.#isListening = false
      await client.end().catch(() => undefined)
      if (!this.#isStopped) await this.#pause()
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, retryMs)
      this.#wakeLoop = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #notice(payload: string): void {
    this.#counts.set(payload, this.count(payload) + 1)
    for (const { payload: wanted, wake } of [...this.#waiters]) if (wanted === payload) wake()
  }
}
