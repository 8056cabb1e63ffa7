/** Where a feed publishes: the topic of an event log that gives back the last line it has. */
export interface FeedTarget {
  /** Number of partitions of the topic. */
  readonly partitions: number
  /** With how many lines at most a publish is fastest. */
  readonly linesMax: number
  /** Header `line` of the newest event of the partition; 0 when it has none. Throws FB_EVENT_LOG_UNREACHABLE. */
  lastLine(partition: number): Promise<number>
  /**
   * Appends the records of each partition in order. After FB_EVENT_LOG_UNREACHABLE any part of them may have been
   * appended, each partition's from its first on: ask `lastLine` of every partition before publishing again.
   */
  publish(records: readonly (readonly FeedRecord[])[]): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface FeedRecord {
  readonly line: number
  readonly symbol: string
  readonly json: string
  /** The intended send time, wall clock. */
  readonly timestampMs: number
}

export const feedTopic = 'trades'
export const feedPartitions = 4
