/**
 * Publishes the lines of a feed: every line exactly once, in order within its partition, at a chosen pace.
 *
 * The n-th symbol to appear goes to partition n mod `partitions` (n from 0). A line is known to be published from the header
 * `line` of its partition's newest event; this is read at the start, to go on with an earlier feed, and after every failure,
 * before anything is sent again. One publish is under way at a time; the next lines are read and grouped meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isForebayError } from '../errors.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { FeedRecord, FeedTarget } from './feed-target.ts'
import { paceOf, type FeedPace } from './feed-pace.ts'
import type { TradeLine } from './trade-line.ts'

export interface FeedOptions {
  readonly lines: AsyncIterable<readonly TradeLine[]> | Iterable<readonly TradeLine[]>
  readonly target: FeedTarget
  readonly pace: FeedPace
  /** Told after each publish how many lines were published since the start, and the number of the last line passed. */
  readonly onProgress?: (published: number, line: number) => void
  /** Told when the event log does not answer; the feed goes on when it does. */
  readonly onTrouble?: (error: Error) => void
  /** At most so many lines a publish. Default: the target's. */
  readonly linesMax?: number
}

export interface FeedResult {
  /** Lines published by this call. */
  readonly published: number
  /** Lines that the log already had. */
  readonly known: number
}

/** Resolves at the end of `lines`, or when `signal` aborts after the publish under way. Throws FB_FEED of `lines`. */
export async function feed(options: FeedOptions, signal: AbortSignal): Promise<FeedResult> {
  const run = new FeedRun(options, signal)
  await run.readTails()
  for await (const lines of options.lines) {
    for (const line of lines) {
      if (signal.aborted) return run.end()
      if (run.isKnown(line)) continue
      await run.add(line)
    }
  }
  return run.end()
}

class FeedRun {
  readonly #options: FeedOptions
  readonly #signal: AbortSignal
  readonly #partitionBySymbol = new Map<string, number>()
  readonly #pace
  readonly #linesMax: number
  #tails: number[] = []
  #batch: FeedRecord[][]
  #batchLines = 0
  #known = 0
  #published = 0
  #publishing: Promise<void> = Promise.resolve()

  constructor(options: FeedOptions, signal: AbortSignal) {
    this.#options = options
    this.#signal = signal
    this.#linesMax = options.linesMax ?? options.target.linesMax
    this.#pace = paceOf(options.pace)
    this.#batch = this.#emptyBatch()
  }

  async readTails(): Promise<void> {
    this.#tails = await this.#untilReached(() => this.#lastLines())
  }

  /** Gives every new symbol its partition; tells whether the log already has the line. */
  isKnown({ symbol, line }: TradeLine): boolean {
    let partition = this.#partitionBySymbol.get(symbol)
    if (partition === undefined) {
      partition = this.#partitionBySymbol.size % this.#options.target.partitions
      this.#partitionBySymbol.set(symbol, partition)
    }
    const isKnown = line <= this.#tails[partition]!
    if (isKnown) this.#known++
    return isKnown
  }

  /** Takes a line when it is due; what is due before is published while waiting. */
  async add({ line, symbol, json, msSinceMidnight }: TradeLine): Promise<void> {
    const dueMs = this.#pace.dueMs(msSinceMidnight)
    const timestampMs = dueMs ?? Date.now()
    if (dueMs !== null && dueMs > Date.now()) {
      await this.#flush()
      await this.#publishing
      const waitMs = dueMs - Date.now()
      if (waitMs > 0) await sleep(waitMs, undefined, { signal: this.#signal }).catch(() => undefined)
      if (this.#signal.aborted) return
    }
    this.#batch[this.#partitionBySymbol.get(symbol)!]!.push({ line, symbol, json, timestampMs: Math.floor(timestampMs) })
    if (++this.#batchLines >= this.#linesMax) await this.#flush()
  }

  async end(): Promise<FeedResult> {
    if (!this.#signal.aborted) await this.#flush()
    await this.#publishing
    return { published: this.#published, known: this.#known }
  }

  /** Begins to publish what was taken, once the publish before has ended. */
  async #flush(): Promise<void> {
    if (this.#batchLines === 0) return
    const batch = this.#batch
    this.#batch = this.#emptyBatch()
    this.#batchLines = 0
    await this.#publishing
    this.#publishing = this.#publish(batch)
    // Awaited by the next flush, which must not find it rejected unseen.
    this.#publishing.catch(() => undefined)
  }

  async #publish(batch: readonly (readonly FeedRecord[])[]): Promise<void> {
    let left = batch
    await this.#untilReached(async (isRepeated) => {
      if (isRepeated) {
        const tails = await this.#lastLines()
        left = batch.map((records, partition) => records.filter(({ line }) => line > tails[partition]!))
      }
      if (left.some((records) => records.length > 0)) await this.#options.target.publish(left)
    })
    let last = 0
    for (const [partition, records] of batch.entries()) {
      const line = records.at(-1)?.line
      if (line === undefined) continue
      this.#tails[partition] = line
      this.#published += records.length
      last = Math.max(last, line)
    }
    this.#options.onProgress?.(this.#published, last)
  }

  #lastLines(): Promise<number[]> {
    const { target } = this.#options
    return Promise.all(Array.from({ length: target.partitions }, (_, partition) => target.lastLine(partition)))
  }

  /** Tries again for as long as the event log does not answer; an abort ends that with the last error. */
  async #untilReached<T>(attempt: (isRepeated: boolean) => Promise<T>): Promise<T> {
    const backoff = new Backoff(100, 2000)
    for (let isRepeated = false; ; isRepeated = true) {
      try {
        return await attempt(isRepeated)
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry' || this.#signal.aborted) throw error
        this.#options.onTrouble?.(error)
        await sleep(backoff.next(), undefined, { signal: this.#signal }).catch(() => undefined)
      }
    }
  }

  #emptyBatch(): FeedRecord[][] {
    return Array.from({ length: this.#options.target.partitions }, () => [])
  }
}
