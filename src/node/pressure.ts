/**
 * Tells the operator once when the windows of queues are full, so that reading waits for the database, and once when it goes
 * on without waiting.
 *
 * It is *calm* or *pressed*. A full window is an everyday thing for a moment, and one that was just opened by a flush fills again
 * at once: so it becomes pressed when every look of `pressedAfterMs` found a full window or a wait for one, and calm when none did
 * for `calmAfterMs`.
 */
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'

export interface PressureSources {
  /** The partitions that this node reads, and their queues. */
  readonly owners: () => Iterable<
    readonly [number, { readonly part: { readonly outboxes: readonly { readonly isFull: boolean }[] } | undefined }]
  >
  /** How often reading had to wait for a window since start. */
  readonly waits: () => number
  readonly clock: Clock
  readonly observer: Observer
}

const lookMs = 250
const pressedAfterMs = 2_000
const calmAfterMs = 5_000

/** Looks until the signal aborts. */
export async function tellPressure({ owners, waits, clock, observer }: PressureSources, signal: AbortSignal): Promise<void> {
  let isPressed = false
  /** Since when every look found the opposite of `isPressed`. */
  let turningSinceMs = clock.now()
  let waitsBefore = waits()
  let partitions = new Set<number>()
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal)
    const full = [...owners()].filter(([, { part }]) => part?.outboxes.some(({ isFull }) => isFull) ?? false)
    const isFull = full.length > 0 || waits() > waitsBefore
    waitsBefore = waits()
    if (isFull === isPressed) {
      turningSinceMs = clock.now()
      partitions = new Set()
      continue
    }
    for (const [partition] of full) partitions.add(partition)
    if (clock.now() - turningSinceMs < (isPressed ? calmAfterMs : pressedAfterMs)) continue
    isPressed = isFull
    turningSinceMs = clock.now()
    if (isPressed) observer.log('warn', pressedSentence([...partitions].toSorted((a, b) => a - b)))
    else observer.log('info', 'the windows of the queues have room again: reading of all partitions goes on')
  }
}

function pressedSentence(partitions: readonly number[]): string {
  const which = partitions.length === 0 ? 'some partitions' : `partition${partitions.length === 1 ? '' : 's'} ${partitions.join(', ')}`
  return `the database takes less than comes: the windows of ${which} are full, so reading of them waits, and the event log keeps the rest`
}
