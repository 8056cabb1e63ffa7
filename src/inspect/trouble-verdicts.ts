/** Judges by what nodes themselves tell of calls that do not get through, and of floors that stand. Pure. */
import type { Cause, Verdict } from '../status/verdict.ts'
import type { NodeStatus } from '../status/status.ts'
import { troubleSentence } from '../status/trouble-status.ts'
import type { TroubleKind } from '../troubles.ts'
import type { Situation } from './situation.ts'
import { spanText } from '../text/time-text.ts'

/** What `node` tells of its calls of these kinds at one of these places, the oldest first, in one sentence. */
export function toldTrouble(
  node: NodeStatus | undefined,
  kinds: readonly TroubleKind[],
  isPlace: (place: string) => boolean,
): string | undefined {
  const found = node?.troubles.find(({ kind, places, placesCount }) => {
    // Of very many places only the first are told.
    return kinds.includes(kind) && (places.some(isPlace) || placesCount > places.length)
  })
  return found === undefined || node === undefined ? undefined : troubleSentence(found, node.nowMs)
}

/** Causes that pass by themselves within seconds: what is still there when the floor has stood for long does not pass. */
const passing: Partial<Record<Cause, string>> = {
  'catching-up':
    'its reads of the log come back without events: look whether another client is given any, and at the leader of the partition',
  'in-flight': 'what was sent does not arrive: look at the members of the grid, and restart the node that is named',
  repairing: 'what is made again does not arrive either: look at the members of the grid, their memory and grid.capacity',
  'floor-pending': 'raising the floor comes back without having raised it: look at the database, and restart the owner',
  unknown: 'restart the owner of the partition, and keep its log: this should not be',
}

/** `verdict`, unless it names something that should have passed long ago: then that it does not. */
export function unlessStalled({ owner, facts }: Situation, verdict: Verdict): Verdict {
  const stall = owner?.stalls.find(({ partition }) => partition === facts.partition)
  const mend = passing[verdict.cause]
  const careful = owner?.partitions.find(({ partition }) => partition === facts.partition)?.careful
  if (careful !== undefined && verdict.cause === 'catching-up') return { ...verdict, sentence: `${careful}; ${verdict.sentence}` }
  if (stall === undefined || owner === undefined || mend === undefined || verdict.because !== undefined) return verdict
  return {
    cause: 'stalled',
    sentence: `nothing has moved for ${spanText(owner.nowMs - stall.sinceMs)}, although no call fails: ${verdict.sentence}`,
    next: 'nothing by itself, as it seems; nothing is lost, and nothing is skipped',
    mend,
    because: verdict,
  }
}

/** The functions of the pipeline take the time. */
export function slowConvert(who: string, share: number, sliceP99Ms: number | null): Verdict {
  return {
    cause: 'slow-convert',
    sentence: `${who} ${Math.round(share * 100)}% of its time goes into the pipeline's decode, key and convert, which took ${spanText(sliceP99Ms ?? 0)} for up to 512 events at p99`,
    next: 'it reads on as fast as they let it; while they run, nothing else of the node does',
    mend: 'make them faster, or start more nodes: each takes its share of the partitions',
  }
}
