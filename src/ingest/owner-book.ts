/**
 * The book of owners: who has begun with a partition and not left it, so that an event which ends its process is found (rule 23).
 *
 * A hint that costs speed at most: a forgotten entry makes a killer look new once more, an entry too many has a partition converted
 * carefully for a while. Failures: FB_DATABASE_UNREACHABLE and what no waiting mends.
 */

/** What an owner finds when it begins. */
export interface OwnerRecord {
  /** Owners that died, one after the other, while the floor stood where it stands now. */
  readonly deaths: number
  /** Deaths counted at single offsets above the floor. */
  readonly suspects: ReadonlyMap<bigint, number>
}

export interface OwnerBook {
  /** Registers `owner` at the present floor. An owner before it that has not left counts as dead. */
  begin(partition: number, owner: string): Promise<OwnerRecord>
  /** `owner` left alive; nothing when another one has begun since. */
  leave(partition: number, owner: string): Promise<void>
  /** Counts one more death at `offset`; resolves to how many there are. */
  suspect(partition: number, offset: bigint): Promise<number>
  /** The event at `offset` was converted, and whoever did it lives. */
  acquit(partition: number, offset: bigint): Promise<void>
}
