/**
 * One ring of the Hazelcast grid, as one client uses it.
 *
 * Job: appends, and reads that wait on the member side. Boundary: a Hazelcast Ringbuffer, at most one reader of this ring
 * here. A long poll cannot be taken back, so a read that found nothing in time leaves its question with the member, and the
 * next read from the same sequence takes it up again. There is at most one such question; another sequence drops it, and an
 * answer nobody asks for is let go after `keepMs`.
 *
 * A question that stays unanswered proves nothing by itself: the member may be gone, the ring lost and made anew. So each
 * is checked against the tail of the ring when it first comes back empty, and every few seconds after that (once a second after a
 * disturbance of the grid). A tail below the
 * sequence asked for means another ring: the question is put again from its end. A tail above twice running means that the
 * question got lost: it is put again.
 *
 * What this client appends to a ring it also reads is kept until it was not read for `readLatelyMs`, so that a busy ring's
 * entries need not come back over the network. A disturbance, a failed append or a sequence that does not follow forgets them all.
 * For the same reason, where the last two entries are this client's own, a read behind them first waits for its next append, and only then
 * leaves its question: the first entry of another writer comes later by at most `ownWaitMs`.
 */
import { StaleSequenceError } from 'hazelcast-client'
import type { ReadResultSet, Ringbuffer } from 'hazelcast-client'
import { assert } from '../assert.ts'
import { isForebayError } from '../errors.ts'
import { recentEntriesMax } from './job-grid.ts'
import type { ReadOptions, RingEntries, RingTail } from './job-grid.ts'

/** Runs a call of the client with the time limit of a call; rejects with FB_GRID_UNREACHABLE. */
export type GridCall = <T>(what: string, call: () => Promise<T>) => Promise<T>

type Answer = RingEntries | { readonly error: unknown }

/** A question left with the member. */
interface Question {
  readonly from: bigint
  readonly countMax: number
  settled: Answer | undefined
  /** Ends the wait of the reader; one at most, for a chain of them on one promise would grow as long as nothing comes. */
  wake: (() => void) | undefined
  checkedMs: number
  isLate: boolean
  expiry: NodeJS.Timeout | undefined
}

/** Between two looks whether a question is still good; after a disturbance of the grid they come more often for a while. */
const checkMs = 5000
const doubtfulCheckMs = 1000
const doubtMs = 15_000
const keepMs = 10_000
const tailCountMax = 16
/** A ring that was not read for so long has no reader here. */
const readLatelyMs = 1000
/** How long a read waits for the client's own next append, when the last one is no longer ago than that. */
const ownWaitMs = 100

export class HazelcastRing {
  readonly #name: string
  readonly #call: GridCall
  readonly #open: () => Promise<Ringbuffer<Buffer>>
  #proxy: Promise<Ringbuffer<Buffer>> | undefined
  #question: Question | undefined
  readonly #recent = new Map<bigint, Buffer>()
  #readMs = -Infinity
  #doubtedUntilMs = -Infinity
  #recentExpiry: NodeJS.Timeout | undefined
  #appendedMs = -Infinity
  /** The sequence after the last own entry. */
  #ownEnd = 0n
  /** Ends the wait for an own append. */
  #wakeRead: (() => void) | undefined

  constructor(name: string, call: GridCall, open: () => Promise<Ringbuffer<Buffer>>) {
    assert(!name.includes('@'), 'a ring has no @ in its name: it would not survive a migration')
    this.#name = name
    this.#call = call
    this.#open = open
  }

  async append(entry: Buffer): Promise<bigint> {
    try {
      const sequence = await this.#call(`append to ${this.#name}`, async () => {
        const proxy = await this.#ringbuffer()
        return BigInt((await proxy.add(entry)).toNumber())
      })
      if (this.#isReadLately) this.#keep(sequence, entry)
      // Where others append too, waiting for the next own entry would leave theirs lying.
      this.#appendedMs = sequence === this.#ownEnd ? performance.now() : -Infinity
      this.#ownEnd = sequence + 1n
      this.#wakeRead?.()
      return sequence
    } catch (error) {
      this.#forgetRecent()
      throw error
    }
  }

  async read(from: bigint, { countMax, waitMs, signal }: ReadOptions): Promise<RingEntries> {
    assert(from >= 0n && countMax >= 1 && countMax <= 1000, 'a read starts at a sequence from 0 on and takes 1 to 1000 entries')
    const startedMs = (this.#readMs = performance.now())
    const left = this.#question
    const isLeft = left !== undefined && left.from === from && left.countMax === countMax
    const recent =
      this.#takeRecent(from, countMax) ??
      (isLeft ? undefined : await this.#awaitRecent(from, { countMax, waitMs, ...(signal === undefined ? {} : { signal }) }))
    if (recent !== undefined) return recent
    const question = isLeft ? left : this.#ask(from, from, countMax)
    const leftMs = waitMs - (performance.now() - startedMs)
    const answer = (await answerWithin(question, Math.max(0, leftMs), signal)) ?? (await this.#check(question))
    if (answer === undefined) return { entries: [], nextSequence: from }
    this.#forget(question)
    if (!('error' in answer)) return answer
    if (answer.error instanceof StaleSequenceError) return this.#readFromHead()
    // What failed was a question of earlier, which may have met a member that is gone by now.
    if (isLeft) return { entries: [], nextSequence: from }
    return this.#call(`read ${this.#name}`, () => Promise.reject(answer.error))
  }

  /** Own entries from `from` on that are appended soon, where any are to be expected. */
  async #awaitRecent(from: bigint, { countMax, waitMs, signal }: ReadOptions): Promise<RingEntries | undefined> {
    if (from !== this.#ownEnd || performance.now() - this.#appendedMs > ownWaitMs) return undefined
    await waitFor(Math.min(ownWaitMs, waitMs), signal, (wake) => (this.#wakeRead = wake))
    this.#wakeRead = undefined
    return this.#takeRecent(from, countMax)
  }

  /** Entries as they are now; neither the question of a reader nor what is kept for it is touched. */
  async peek(from: bigint, countMax: number): Promise<RingEntries> {
    assert(from >= 0n && countMax >= 1 && countMax <= 1000, 'a look starts at a sequence from 0 on and takes 1 to 1000 entries')
    try {
      return await this.#call(`look into ${this.#name}`, () => this.#poll(from, from, { countMin: 0, countMax }))
    } catch (error) {
      if (isForebayError(error) && error.cause instanceof StaleSequenceError) return this.#readFromHead()
      throw error
    }
  }

  async tail(): Promise<RingTail> {
    const proxy = await this.#call(`open ${this.#name}`, () => this.#ringbuffer())
    const bound = (which: 'tailSequence' | 'headSequence') =>
      this.#call(`tell the tail of ${this.#name}`, async () => (await proxy[which]()).toNumber())
    const [tail, head] = await Promise.all([bound('tailSequence'), bound('headSequence')])
    if (tail < 0 || head > tail) return { sequence: BigInt(tail), entry: undefined }
    const results = await this.#call(`read the tail of ${this.#name}`, () => proxy.readMany(tail, 1, tailCountMax))
    const last = results.getReadCount() - 1
    return { sequence: BigInt(results.getSequence(last).toNumber()), entry: entryAt(results, last) }
  }

  capacity(): Promise<number> {
    return this.#call(`tell the capacity of ${this.#name}`, async () => (await (await this.#ringbuffer()).capacity()).toNumber())
  }

  /** The grid changed: the next empty read looks at the tail at once. */
  doubt(): void {
    this.#forgetRecent()
    this.#appendedMs = -Infinity
    this.#doubtedUntilMs = performance.now() + doubtMs
    if (!this.#question) return
    this.#question.checkedMs = -Infinity
    // The wait for it ends at once, and it is checked.
    this.#question.wake?.()
  }

  close(): void {
    this.#forgetRecent()
    if (this.#question) this.#forget(this.#question)
  }

  #keep(sequence: bigint, entry: Buffer): void {
    if (this.#recent.size > 0 && !this.#recent.has(sequence - 1n)) this.#recent.clear()
    this.#recent.set(sequence, entry)
    if (this.#recent.size > recentEntriesMax) this.#recent.delete(sequence - BigInt(recentEntriesMax))
    this.#recentExpiry ??= this.#expireRecent()
  }

  get #isReadLately(): boolean {
    return performance.now() - this.#readMs < readLatelyMs
  }

  /** Looks once a ring was not read for `readLatelyMs` at the soonest, so that busy rings cost a timer a second. */
  #expireRecent(): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#recentExpiry = undefined
      if (!this.#isReadLately) this.#recent.clear()
      else if (this.#recent.size > 0) this.#recentExpiry = this.#expireRecent()
    }, readLatelyMs)
    return timer.unref()
  }

  #forgetRecent(): void {
    clearTimeout(this.#recentExpiry)
    this.#recentExpiry = undefined
    this.#recent.clear()
    this.#wakeRead?.()
  }

  /** Own entries from `from` on, without a gap. */
  #takeRecent(from: bigint, countMax: number): RingEntries | undefined {
    const entries: Buffer[] = []
    let nextSequence = from
    for (let entry = this.#recent.get(from); entry !== undefined && entries.length < countMax; entry = this.#recent.get(nextSequence)) {
      entries.push(entry)
      this.#recent.delete(nextSequence++)
    }
    return entries.length === 0 ? undefined : { entries, nextSequence }
  }

  #ringbuffer(): Promise<Ringbuffer<Buffer>> {
    this.#proxy ??= this.#open().catch((error: unknown) => {
      this.#proxy = undefined
      throw error
    })
    return this.#proxy
  }

  /** Leaves the question with the member: entries from `start` on, for a reader that asks from `from` on. */
  #ask(from: bigint, start: bigint, countMax: number): Question {
    if (this.#question) this.#forget(this.#question)
    const answer = this.#poll(from, start, { countMin: 1, countMax }).catch((error: unknown): Answer => ({ error }))
    const unsettled = { settled: undefined, wake: undefined, expiry: undefined }
    const question: Question = { from, countMax, ...unsettled, checkedMs: -Infinity, isLate: false }
    this.#question = question
    void answer.then((settled) => {
      question.settled = settled
      question.wake?.()
      if (this.#question !== question) return
      question.expiry = setTimeout(() => this.#forget(question), keepMs)
      question.expiry.unref()
    })
    return question
  }

  async #poll(from: bigint, start: bigint, { countMin, countMax }: { countMin: number; countMax: number }): Promise<RingEntries> {
    const proxy = await this.#ringbuffer()
    const results = await proxy.readMany(Number(start), countMin, countMax)
    const count = results.getReadCount()
    const entries: Buffer[] = []
    for (let i = 0; i < count; i++) entries.push(entryAt(results, i))
    // The member clamps a sequence outside the ring: only what was really read says where to go on.
    return { entries, nextSequence: count === 0 ? from : BigInt(results.getSequence(count - 1).toNumber()) + 1n }
  }

  /** Looks at the tail when that is due, and puts the question again when it will not be answered. */
  async #check(question: Question): Promise<Answer | undefined> {
    const nowMs = performance.now()
    if (nowMs - question.checkedMs < (nowMs < this.#doubtedUntilMs ? doubtfulCheckMs : checkMs)) return undefined
    const end = await this.#call(
      `tell the tail of ${this.#name}`,
      async () => BigInt((await (await this.#ringbuffer()).tailSequence()).toNumber()) + 1n,
    )
    if (question.settled || this.#question !== question) return question.settled
    question.checkedMs = nowMs
    if (end < question.from) {
      this.#ask(question.from, end, question.countMax).checkedMs = nowMs
    } else if (end > question.from && question.isLate) {
      this.#ask(question.from, question.from, question.countMax)
    } else {
      question.isLate = end > question.from
    }
    return undefined
  }

  async #readFromHead(): Promise<RingEntries> {
    const head = await this.#call(`tell the head of ${this.#name}`, async () =>
      BigInt((await (await this.#ringbuffer()).headSequence()).toNumber()),
    )
    return { entries: [], nextSequence: head }
  }

  #forget(question: Question): void {
    clearTimeout(question.expiry)
    if (this.#question === question) this.#question = undefined
  }
}

const foreignEntry = Buffer.alloc(0)

/** The entry; what is none of ours (another type, or one that this client cannot read) is empty bytes: its reader counts them as foreign. */
function entryAt(results: ReadResultSet<unknown>, index: number): Buffer {
  try {
    const entry = results.get(index)
    return Buffer.isBuffer(entry) ? entry : foreignEntry
  } catch {
    return foreignEntry
  }
}

/** The answer, or undefined when it does not come within `waitMs`. */
async function answerWithin(question: Question, waitMs: number, signal: AbortSignal | undefined): Promise<Answer | undefined> {
  if (question.settled !== undefined) return question.settled
  await waitFor(waitMs, signal, (wake) => (question.wake = wake))
  question.wake = undefined
  return question.settled
}

/** Waits for `waitMs`, until `signal` aborts, or until what `onWake` is given is called. */
function waitFor(waitMs: number, signal: AbortSignal | undefined, onWake: (wake: () => void) => void): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', wake)
      resolve()
    }
    const timer = setTimeout(wake, waitMs)
    signal?.addEventListener('abort', wake, { once: true })
    onWake(wake)
  })
}
