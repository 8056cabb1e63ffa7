/** Troubles as a node's status shows them: those of one kind and reason together. */
import { spanText } from '../text/time-text.ts'
import type { Clock } from '../schedule/clock.ts'
import { troubleKinds } from '../troubles.ts'
import type { Trouble, TroubleKind, Troubles } from '../troubles.ts'

export interface TroubleStatus {
  readonly kind: TroubleKind
  readonly form: Trouble['form']
  /** Wall clock, as the node sees it. */
  readonly sinceMs: number
  /** Partitions, queues, tasks; of very many the first. */
  readonly places: readonly string[]
  readonly placesCount: number
  readonly code: Trouble['code']
  readonly sentence: string
  /** The same for the same reason. */
  readonly reason: string
  /** Whether work stands still, so that the node is not ready. */
  readonly standsStill: boolean
}

const placesTold = 100
const placesShown = 5

/** The troubles of this moment, the oldest first. */
export function troubleStatuses(troubles: Troubles, clock: Pick<Clock, 'now' | 'wallMs'>): TroubleStatus[] {
  const groups = new Map<string, Trouble[]>()
  for (const trouble of troubles.present()) {
    const name = `${trouble.kind} ${trouble.reason}`
    groups.set(name, [...(groups.get(name) ?? []), trouble])
  }
  const toWallMs = clock.wallMs() - clock.now()
  return [...groups.values()].map((group) => {
    const { kind, form, sinceMs, code, sentence, reason } = group[0]!
    const places = group.slice(0, placesTold).map(({ where }) => where)
    const standsStill = troubleKinds[kind].standsStill && form !== 'late'
    return { kind, form, sinceMs: sinceMs + toWallMs, places, placesCount: group.length, code, sentence, reason, standsStill }
  })
}

const formTexts: Readonly<Record<Trouble['form'], string>> = {
  fails: 'has failed',
  hangs: 'has had no answer',
  late: 'has been slow',
}

/** A trouble in one sentence, for people. */
export function troubleSentence({ kind, form, sinceMs, places, placesCount, sentence }: TroubleStatus, nowMs: number): string {
  const more = placesCount > placesShown ? ` and ${placesCount - placesShown} more` : ''
  return `${troubleKinds[kind].what} ${formTexts[form]} for ${spanText(nowMs - sinceMs)} (${places.slice(0, placesShown).join(', ')}${more}): ${sentence}`
}
