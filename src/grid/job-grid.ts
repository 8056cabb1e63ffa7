/**
 * The grid as forebay sees it: bounded rings of immutable entries and small maps, shared by all nodes.
 *
 * Everything in it is a hint that may be lost at any time (fact 2 of the protocol). A ring may lose entries,
 * hold one twice, vanish and be created anew with sequences from 0, and overwrite its oldest entries.
 * A call that fails may have had its effect. Every call ends within a few seconds.
 */

/** Entries of a ring that an adapter may keep for its reader, from those this process appended itself. */
export const recentEntriesMax = 8

export interface RingEntries {
  readonly entries: readonly Buffer[]
  /** Where to read on: one past the last entry returned, or the `from` of the call when none was. */
  readonly nextSequence: bigint
}

export interface ReadOptions {
  readonly countMax: number
  /** How long it may wait for the first entry. */
  readonly waitMs: number
  /** Ends the wait early. */
  readonly signal?: AbortSignal
}

export interface RingTail {
  /** Sequence of the newest entry; -1 when the ring is empty. */
  readonly sequence: bigint
  /** The newest entry itself. */
  readonly entry: Buffer | undefined
}

export interface UnusedNames {
  readonly rings: readonly string[]
  readonly maps: readonly string[]
}

export interface JobGrid {
  /** Adds `entry` behind the tail, overwriting the oldest entry of a full ring; resolves to its sequence once backups have it. */
  append(ring: string, entry: Buffer): Promise<bigint>
  /**
   * Up to `countMax` (at most 1000) entries from `fromSequence` on, waiting up to `waitMs` for the first one, or until `signal` aborts.
   * A sequence older than the head reads from the head; one beyond the tail waits for the next append (so a ring
   * that was created anew looks like a gap, not like an error). Non-destructive.
   */
  read(ring: string, fromSequence: bigint, options: ReadOptions): Promise<RingEntries>
  /**
   * Up to `countMax` (at most 1000) entries from `fromSequence` on, as they are now: it waits for none, and no `read` of this ring
   * notices it. A sequence older than the head reads from the head.
   */
  peek(ring: string, fromSequence: bigint, countMax: number): Promise<RingEntries>
  tail(ring: string): Promise<RingTail>
  /** Entries the ring can hold. */
  capacity(ring: string): Promise<number>
  put(map: string, key: string, value: string): Promise<void>
  remove(map: string, key: string): Promise<void>
  entries(map: string): Promise<ReadonlyMap<string, string>>
  /**
   * Takes rings and maps that nobody uses any more out of the grid; one that is not there counts as taken out. Who writes to one
   * all the same makes it anew.
   */
  destroy(unused: UnusedNames): Promise<void>
  /** The version of each member of the cluster by its address, as far as is known here; absent: the grid has no members. */
  memberVersions?(): ReadonlyMap<string, string>
  /** Calls back whenever the grid may have lost or regained data: reconnected, a member gone. Returns the unsubscribe. */
  onDisturbance(listener: () => void): () => void
  [Symbol.asyncDispose](): Promise<void>
}
