/**
 * The retention clock of a node's partitions: warns before the log deletes what is still to be processed.
 *
 * Job: every `lookMs` one look at each owned partition that is behind; the last ten minutes of looks give the rate. Boundary: it
 * reads and tells, in logs and in `leftMs` for status and metrics, and never acts. Bounded by the partitions and by `looksMax`.
 * A partition warns when its time left falls below the warning, and again at most every `againMs`.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { EventLog, PartitionRange } from '../events/event-log.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import { retentionLeftMs, retentionWarningMs } from '../events/retention-clock.ts'
import type { RetentionSample } from '../events/retention-clock.ts'
import { spanText } from '../text/time-text.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'

interface Ports {
  readonly log: EventLog
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log'>
}

const lookMs = 15_000
const looksMax = 40
const settingsMs = 300_000
const againMs = 300_000

export class RetentionWatch {
  readonly #ports: Ports
  readonly #looks = new Map<number, RetentionSample[]>()
  readonly #left = new Map<number, number>()
  readonly #warnedMs = new Map<number, number>()
  #retentionMs: number | null = null
  #isUnknownTold = false
  #nextLookMs = 0
  #nextSettingsMs = 0

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Milliseconds until retention passes the floor, while that is near enough to warn; else undefined. */
  leftMs(partition: number): number | undefined {
    return this.#left.get(partition)
  }

  /** Looks when a look is due. Throws what the log throws. */
  async look(floors: ReadonlyMap<number, bigint>, ranges: ReadonlyMap<number, PartitionRange>): Promise<void> {
    const { clock } = this.#ports
    const nowMs = clock.now()
    if (nowMs < this.#nextLookMs) return
    this.#nextLookMs = nowMs + lookMs
    if (nowMs >= this.#nextSettingsMs) {
      this.#nextSettingsMs = nowMs + settingsMs
      this.#retentionMs = await this.#askRetention()
    }
    for (const partition of this.#looks.keys()) if (!floors.has(partition)) this.#forget(partition)
    for (const [partition, floor] of floors) {
      const range = ranges.get(partition)
      if (range !== undefined) await this.#lookAt(partition, floor, range)
    }
  }

  /** Null while it is not known: a user that may read a topic need not be allowed to see its settings. */
  async #askRetention(): Promise<number | null> {
    const { log, observer } = this.#ports
    try {
      return (await log.retentionMs?.()) ?? null
    } catch (error) {
      if (!isForebayError(error)) throw error
      const level = this.#isUnknownTold ? 'debug' : 'warn'
      this.#isUnknownTold = true
      const what = 'the retention of the topic is not known, so nobody warns before it passes a floor'
      observer.log(level, `${what} (to see it, the user needs DescribeConfigs on the topic): ${sentenceOf(error)}`, { code: error.code })
      return null
    }
  }

  async #lookAt(partition: number, floor: bigint, { startOffset, endOffset }: PartitionRange): Promise<void> {
    const { clock, log } = this.#ports
    const next = nextOffsetAfter(floor)
    // Everything processed, or passed already: the halted partition speaks for itself.
    if (next >= endOffset || next < startOffset) return this.#forget(partition)
    const oldest = await log.eventAt(partition, next)
    const now = { atMs: clock.wallMs(), floor, startOffset, oldestMs: oldest?.timestampMs ?? null }
    const looks = this.#looks.get(partition) ?? []
    this.#looks.set(partition, [...looks, now].slice(-looksMax))
    const leftMs = retentionLeftMs(looks[0] ?? now, now, this.#retentionMs)
    if (leftMs === null || leftMs >= retentionWarningMs(this.#retentionMs)) {
      this.#left.delete(partition)
      return
    }
    this.#left.set(partition, leftMs)
    this.#warn(partition, leftMs)
  }

  #warn(partition: number, leftMs: number): void {
    const { clock, observer } = this.#ports
    const nowMs = clock.now()
    if (nowMs - (this.#warnedMs.get(partition) ?? -Infinity) < againMs) return
    this.#warnedMs.set(partition, nowMs)
    observer.log('warn', retentionSentence(partition, leftMs), { partition, leftMs: Math.round(leftMs) })
  }

  #forget(partition: number): void {
    this.#looks.delete(partition)
    this.#left.delete(partition)
    this.#warnedMs.delete(partition)
  }
}

/** The warning in words. */
export function retentionSentence(partition: number, leftMs: number): string {
  return `partition ${partition}: at the present rate ${spanText(leftMs)} left until the log deletes events that are not processed yet; then the partition halts. Raise the retention of the topic (forebay topics plan), or see why it is behind (forebay explain)`
}
