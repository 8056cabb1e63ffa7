/**
 * Tells of troubles: each kind once in the log when it has lasted, again when another reason joins, and when it is over, with how
 * long it lasted. What it tells is counted by kind.
 *
 * It looks every `lookMs`. A look that comes much too late means that this process stood still: that time counts against nobody.
 */
import { spanText } from '../text/time-text.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'
import { troubleKinds } from '../troubles.ts'
import type { TroubleKind, Troubles } from '../troubles.ts'
import { troubleSentence, troubleStatuses } from '../status/trouble-status.ts'
import type { TroubleStatus } from '../status/trouble-status.ts'

export interface TroubleTellerPorts {
  readonly troubles: Troubles
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log' | 'count'>
}

interface Told {
  /** Wall clock. */
  readonly sinceMs: number
  readonly reasons: Set<string>
}

const lookMs = 500
const stoodStillMs = 2000
/** Of one kind while it lasts; further ones are not told. */
const reasonsMax = 10

export class TroubleTeller {
  readonly #ports: TroubleTellerPorts
  readonly #told = new Map<TroubleKind, Told>()
  #lookedMs: number | undefined

  constructor(ports: TroubleTellerPorts) {
    this.#ports = ports
  }

  /** Looks until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ports.clock.sleep(lookMs, signal)
      if (!signal.aborted) this.#look()
    }
  }

  #look(): void {
    const { troubles, clock, observer } = this.#ports
    const nowMs = clock.now()
    const lateMs = this.#lookedMs === undefined ? 0 : nowMs - this.#lookedMs - lookMs
    this.#lookedMs = nowMs
    if (lateMs >= stoodStillMs) troubles.skip(lateMs)
    troubles.tidy()
    const present = troubleStatuses(troubles, clock)
    for (const trouble of present) this.#tell(trouble)
    for (const [kind, { sinceMs }] of this.#told) {
      if (present.some((trouble) => trouble.kind === kind)) continue
      this.#told.delete(kind)
      const ends = troubles.isLeft(kind) ? 'is not tried here any more' : 'gets through again'
      observer.log('info', `${troubleKinds[kind].what} ${ends}, after ${spanText(clock.wallMs() - sinceMs)}`, { kind })
    }
  }

  #tell(trouble: TroubleStatus): void {
    const { clock, observer } = this.#ports
    const { kind, reason, standsStill, form, code } = trouble
    const told = this.#told.get(kind)
    if (told !== undefined && (told.reasons.has(reason) || told.reasons.size >= reasonsMax)) return
    if (told === undefined) {
      this.#told.set(kind, { sinceMs: trouble.sinceMs, reasons: new Set([reason]) })
      observer.count('troubles', 1, kind)
    } else {
      told.reasons.add(reason)
    }
    observer.log(standsStill ? 'error' : 'warn', troubleSentence(trouble, clock.wallMs()), { kind, form, code })
  }
}
