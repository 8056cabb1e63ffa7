/**
 * Membership: which nodes of this pipeline live, as far as this node can see.
 *
 * Job: every `beatMs` write the own entry with a counter, and read everybody's. Boundary: the map `forebay.<scope>.nodes`
 * of the grid; who owns what is decided elsewhere from `live()`. Nothing rests on it but saved work: a wrong view makes two
 * owners or none for a moment, and the ledger fences (fact 1 of the protocol).
 *
 * States: before the first answer of the grid `live()` is empty, since a node that has seen nobody must not take everything.
 * While the grid answers, a node is alive until its counter has stood still for `leaseMs` of this node's own monotonic clock;
 * clocks are never compared. Time in which this node did not look does not count: it says nothing about the others. While
 * the grid does not answer, the last view stands. A clean stop removes the own entry, and the others notice at their next
 * beat; when this node's own entry is gone too, the map was lost and everybody is given the lease again.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { spanText } from '../text/time-text.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'
import { membershipNews } from './membership-news.ts'
import type { Cut } from './reach.ts'

/** What a node tells the others about itself. */
export interface NodeInfo {
  /** The epoch it works in; null until the ledger has answered. */
  readonly epoch: number | null
  /** Where it serves its status, such as `http://127.0.0.1:8080`; null when it serves none. */
  readonly http: string | null
  readonly pid: number
  /** What it cannot reach: work that needs it goes to others (rule 22). */
  readonly cut: Cut
}

export interface LiveNode {
  readonly id: string
  readonly info: NodeInfo
}

export interface MembershipOptions {
  /** Unique for this life of the process. */
  readonly id: string
  readonly scope: string
  /** How often the own entry is written and all are read. Default 300. */
  readonly beatMs?: number
  /** How long a counter may stand still. Default 1200. */
  readonly leaseMs?: number
  /** When a dead node's entry is removed. Default 60000. */
  readonly forgetMs?: number
  /** Called after every beat that changed `live()`. */
  readonly onChange?: (live: readonly LiveNode[]) => void
}

interface Sighting {
  readonly text: string
  readonly info: NodeInfo
  /** When this text was first seen. */
  readonly seenMs: number
}

export class Membership {
  readonly #ports: { readonly grid: JobGrid; readonly clock: Clock; readonly observer: Observer }
  readonly #options: Required<Omit<MembershipOptions, 'onChange'>> & Pick<MembershipOptions, 'onChange'>
  readonly #map: string
  #info: NodeInfo
  #beat = 0
  #lookedMs: number | undefined
  #sightings = new Map<string, Sighting>()
  #live: readonly LiveNode[] = []
  #isReached = false
  /** Since when the own entry is gone again at every beat. */
  #lostSinceMs: number | undefined
  #isLostTold = false

  constructor(
    ports: { readonly grid: JobGrid; readonly clock: Clock; readonly observer: Observer },
    options: MembershipOptions,
    info: NodeInfo,
  ) {
    this.#ports = ports
    this.#options = { beatMs: 300, leaseMs: 1200, forgetMs: 60_000, ...options }
    this.#map = membershipMap(options.scope)
    this.#info = info
  }

  /** The nodes that live, this one among them, sorted by id; empty until the grid has answered once. */
  live(): readonly LiveNode[] {
    return this.#live
  }

  /** Whether the last beat reached the grid. */
  get isReached(): boolean {
    return this.#isReached
  }

  /** Why the others may not hear of this node, or this one of them; undefined while all is well. */
  get trouble(): string | undefined {
    if (!this.#isReached) return 'the grid does not answer'
    return this.#isLost() ? lostSentence : undefined
  }

  /** Changes what the others are told, from the next beat on. */
  update(info: Partial<NodeInfo>): void {
    this.#info = { ...this.#info, ...info }
  }

  /** Beats until `signal` aborts, then takes leave. Throws only what is no failure of the grid. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports
    while (!signal.aborted) {
      await this.#reach(() => this.#beatOnce())
      await clock.sleep(this.#options.beatMs, signal)
    }
    await this.#reach(() => this.#ports.grid.remove(this.#map, this.#options.id))
  }

  async #reach(call: () => Promise<void>): Promise<void> {
    try {
      await call()
      if (!this.#isReached) this.#ports.observer.log('debug', 'membership reaches the grid')
      this.#isReached = true
    } catch (error) {
      if (!isForebayError(error) || error.policy !== 'retry') throw error
      // What lasts is told by the watch on the calls.
      if (this.#isReached)
        this.#ports.observer.log('debug', `membership does not reach the grid, its last view stands: ${sentenceOf(error)}`)
      this.#isReached = false
    }
  }

  async #beatOnce(): Promise<void> {
    const { grid, clock } = this.#ports
    const entries = await grid.entries(this.#map)
    this.#look(entries, clock.now())
    this.#noteLoss(entries, clock.now())
    this.#beat++
    await grid.put(this.#map, this.#options.id, JSON.stringify({ beat: this.#beat, ...this.#info }))
    for (const [id, { seenMs }] of this.#sightings) {
      if (clock.now() - seenMs < this.#options.forgetMs) continue
      await grid.remove(this.#map, id)
      this.#sightings.delete(id)
    }
  }

  /** One loss of the map is an everyday thing; a grid that forgets every beat leaves this node alone without a failure. */
  #noteLoss(entries: ReadonlyMap<string, string>, nowMs: number): void {
    const { observer } = this.#ports
    if (this.#beat === 0 || entries.has(this.#options.id)) {
      const lastedMs = nowMs - (this.#lostSinceMs ?? nowMs)
      if (this.#isLostTold) observer.log('info', `the grid keeps what this node tells of itself again, after ${spanText(lastedMs)}`)
      this.#lostSinceMs = undefined
      this.#isLostTold = false
      return
    }
    this.#lostSinceMs ??= nowMs
    if (!this.#isLost() || this.#isLostTold) return
    this.#isLostTold = true
    observer.count('troubles', 1, 'membership')
    observer.log('error', lostSentence)
  }

  #isLost(): boolean {
    return this.#lostSinceMs !== undefined && this.#ports.clock.now() - this.#lostSinceMs >= lostAfterMs
  }

  #look(entries: ReadonlyMap<string, string>, nowMs: number): void {
    const { id: self, leaseMs } = this.#options
    const unseenMs = this.#lookedMs === undefined ? 0 : nowMs - this.#lookedMs
    const graceMs = unseenMs > leaseMs / 2 ? unseenMs : 0
    this.#lookedMs = nowMs
    const sightings = new Map<string, Sighting>()
    // Entries of others that are gone mean a leave, unless the own one went with them.
    if (!entries.has(self)) for (const [id, seen] of this.#sightings) sightings.set(id, { ...seen, seenMs: seen.seenMs + graceMs })
    for (const [id, text] of entries) {
      const before = this.#sightings.get(id)
      const info = nodeInfoOf(text)
      if (id === self || info === undefined) continue
      sightings.set(id, before?.text === text ? { ...before, seenMs: before.seenMs + graceMs } : { text, info, seenMs: nowMs })
    }
    this.#sightings = sightings
    const live = [...sightings].filter(([, { seenMs }]) => nowMs - seenMs < leaseMs).map(([id, { info }]) => ({ id, info }))
    this.#tellNews(live, entries)
    this.#publish([...live, { id: self, info: this.#info }].toSorted((a, b) => (a.id < b.id ? -1 : 1)))
  }

  #tellNews(live: readonly LiveNode[], entries: ReadonlyMap<string, string>): void {
    const others = (nodes: readonly LiveNode[]) => nodes.flatMap(({ id }) => (id === this.#options.id ? [] : [id]))
    const news = membershipNews({ before: others(this.#live), now: others(live), hasEntry: (id) => entries.has(id) })
    for (const line of news) this.#ports.observer.log('info', line)
  }

  #publish(live: readonly LiveNode[]): void {
    const isSame = JSON.stringify(live) === JSON.stringify(this.#live)
    this.#live = live
    if (!isSame) this.#options.onChange?.(live)
  }
}

const lostAfterMs = 5000
const lostSentence =
  'the grid does not keep what this node tells of itself, so the nodes may not see each other: look at the members of the grid, whether they are one cluster and have memory left'

/** The map of the grid in which the nodes of an epoch tell of themselves. */
export function membershipMap(scope: string): string {
  return `forebay.${scope}.nodes`
}

/** What an entry says, or undefined when it is none of ours. */
export function nodeInfoOf(text: string): NodeInfo | undefined {
  try {
    const { epoch, http, pid, cut } = JSON.parse(text) as Partial<NodeInfo>
    const isWhole =
      (epoch === null || typeof epoch === 'number') && (http === null || typeof http === 'string') && typeof pid === 'number' && isCut(cut)
    return isWhole ? { epoch, http, pid, cut } : undefined
  } catch {
    return undefined
  }
}

function isCut(cut: Partial<Cut> | undefined): cut is Cut {
  return (
    typeof cut?.log === 'boolean' &&
    typeof cut.database === 'boolean' &&
    Array.isArray(cut.partitions) &&
    cut.partitions.every((partition) => typeof partition === 'number') &&
    typeof cut.doubts?.log === 'boolean' &&
    typeof cut.doubts.database === 'boolean'
  )
}
