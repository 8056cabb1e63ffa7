/**
 * Notices floors that stand while the log holds more, whatever the cause, and names it.
 *
 * A floor *stands* from the moment on which it did not move although there are events above it, or on which it lies beyond the end
 * that the log tells. What stands for longer than ten cadences of the slowest task, and ten seconds, is a *stall*: judged at once
 * and every `judgeMs` again, shown in the status, counted, told in the log once for each cause and all partitions together, and told
 * again when another cause joins and when it is over. Boundary: it looks and never acts.
 */
import type { Cause, Verdict } from '../status/verdict.ts'
import type { Stall } from '../status/stall.ts'
import { sentenceOf } from '../errors.ts'
import type { PartitionRange } from '../events/event-log.ts'
import { spanText } from '../text/time-text.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'

export interface ProgressWatchPorts {
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log' | 'count'>
  /** The floors of the partitions that this node reads now; -1 before one is known. */
  readonly floors: () => ReadonlyMap<number, bigint>
  readonly range: (partition: number) => PartitionRange | undefined
  /** Whether the log tells an end below what was processed already. */
  readonly isShort: (partition: number) => boolean
  /** Whether its owner has halted it, and said so. */
  readonly isHalted: (partition: number) => boolean
  /** Why these stand, as `explain` says it. Takes a few seconds at most. */
  readonly judge: (partitions: readonly number[]) => Promise<ReadonlyMap<number, Verdict>>
}

interface Standing {
  readonly floor: bigint
  sinceMs: number
  verdict: Verdict | undefined
}

const lookMs = 250
const judgeMs = 5000
const stoodStillMs = 2000
const leastMs = 10_000
const cadences = 10
const partitionsShown = 10

export class ProgressWatch {
  readonly #ports: ProgressWatchPorts
  readonly #limitMs: number
  readonly #standing = new Map<number, Standing>()
  /** Since when each cause that was told lasts. */
  readonly #told = new Map<Cause, number>()
  #lookedMs: number | undefined
  #judgedMs = -Infinity

  /** `cadencesMs`: of the tasks that hold floors. */
  constructor(ports: ProgressWatchPorts, cadencesMs: readonly number[]) {
    this.#ports = ports
    this.#limitMs = Math.max(leastMs, cadences * Math.max(0, ...cadencesMs))
  }

  /** What stands for too long, by partition. */
  stalls(): Stall[] {
    const { clock } = this.#ports
    const toWallMs = clock.wallMs() - clock.now()
    return this.#stalled().flatMap(([partition, { floor, sinceMs, verdict }]) => {
      if (verdict?.cause === 'draining') return []
      const { cause = null, sentence = 'the cause is not known yet', mend = null } = verdict ?? {}
      return [{ partition, sinceMs: sinceMs + toWallMs, floor: String(floor), cause, sentence, mend }]
    })
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ports.clock.sleep(lookMs, signal)
      if (!signal.aborted) await this.#look()
    }
  }

  async #look(): Promise<void> {
    this.#follow()
    const stalled = this.#stalled()
    const nowMs = this.#ports.clock.now()
    const isNew = stalled.some(([, { verdict }]) => verdict === undefined)
    if (stalled.length > 0 && (isNew || nowMs - this.#judgedMs >= judgeMs)) await this.#judge(stalled)
    this.#tell(this.#stalled())
  }

  /** Keeps for each partition since when its floor stands. */
  #follow(): void {
    const { clock, floors, range, isShort } = this.#ports
    const nowMs = clock.now()
    const lateMs = this.#lookedMs === undefined ? 0 : nowMs - this.#lookedMs - lookMs
    this.#lookedMs = nowMs
    const owned = floors()
    for (const partition of this.#standing.keys()) if (!owned.has(partition)) this.#standing.delete(partition)
    for (const [partition, floor] of owned) {
      const bounds = range(partition)
      const standing = this.#standing.get(partition)
      const isBehind = bounds !== undefined && floor + 1n < bounds.endOffset
      if (!isBehind && !isShort(partition)) this.#standing.delete(partition)
      else if (standing === undefined || (isBehind && standing.floor !== floor))
        this.#standing.set(partition, { floor, sinceMs: nowMs, verdict: undefined })
      // Time in which this process stood still counts against nobody.
      else if (lateMs >= stoodStillMs) standing.sinceMs += lateMs
    }
  }

  #stalled(): [number, Standing][] {
    const nowMs = this.#ports.clock.now()
    return [...this.#standing].filter(([, { sinceMs }]) => nowMs - sinceMs >= this.#limitMs)
  }

  async #judge(stalled: readonly [number, Standing][]): Promise<void> {
    const { clock, judge, observer } = this.#ports
    this.#judgedMs = clock.now()
    try {
      const verdicts = await judge(stalled.map(([partition]) => partition))
      for (const [partition, standing] of stalled) standing.verdict = verdicts.get(partition) ?? standing.verdict
    } catch (error) {
      observer.log('warn', `why partitions stand still cannot be told: ${sentenceOf(error)}`)
    }
    // Time spent here is no time in which the process stood still.
    this.#lookedMs = clock.now() - lookMs
  }

  #tell(stalled: readonly [number, Standing][]): void {
    const { clock, observer, isHalted } = this.#ports
    const nowMs = clock.now()
    const causes = new Map<Cause, [number, Standing][]>()
    for (const one of stalled) {
      const cause = one[1].verdict?.cause
      // Draining was asked for.
      if (cause !== undefined && cause !== 'draining' && !isHalted(one[0])) causes.set(cause, [...(causes.get(cause) ?? []), one])
    }
    for (const [cause, found] of causes) {
      if (this.#told.has(cause)) continue
      const [, { sinceMs, verdict }] = found[0]!
      this.#told.set(cause, sinceMs)
      observer.count('stalls', 1, cause)
      const mend = verdict!.mend === null ? '' : `; ${verdict!.mend}`
      observer.log('error', `${whichText(found)} stood still for ${spanText(nowMs - sinceMs)}: ${verdict!.sentence}${mend}`, { cause })
    }
    for (const [cause, sinceMs] of this.#told) {
      if (causes.has(cause)) continue
      this.#told.delete(cause)
      const ends =
        stalled.length === 0 ? 'all partitions of this node move again' : `no partition stands still any more because of ${cause}`
      observer.log('info', `${ends}, after ${spanText(nowMs - sinceMs)}`, { cause })
    }
  }
}

function whichText(found: readonly [number, Standing][]): string {
  const numbers = found.map(([partition]) => partition)
  const more = numbers.length > partitionsShown ? ` and ${numbers.length - partitionsShown} more` : ''
  return `partition${numbers.length === 1 ? '' : 's'} ${numbers.slice(0, partitionsShown).join(', ')}${more} ${numbers.length === 1 ? 'has' : 'have'}`
}
