/**
 * I2 and I3: a committed position (a watermark, a floor) has nothing unapplied at or below it.
 * A lane is whatever has such a position: a (task, queue), or a partition.
 */
import { Violation } from './violation.ts'

interface Lane {
  readonly offsets: number[]
  readonly ids: string[]
  /** Everything before this index was found applied. */
  checked: number
}

export class NoCommittedGap {
  readonly #rule: string
  readonly #isApplied: (id: string) => boolean
  readonly #lanes = new Map<string, Lane>()

  constructor(rule: string, isApplied: (id: string) => boolean) {
    this.#rule = rule
    this.#isApplied = isApplied
  }

  /** `id` must be applied before `lane` passes `offset`. Offsets of a lane come in order. */
  expect(lane: string, offset: number, id: string): void {
    const found = this.#lanes.get(lane) ?? { offsets: [], ids: [], checked: 0 }
    this.#lanes.set(lane, found)
    found.offsets.push(offset)
    found.ids.push(id)
  }

  /** The committed position of `lane` is `to` now. */
  advance(lane: string, to: number): void {
    const found = this.#lanes.get(lane)
    if (found === undefined) return
    while (found.checked < found.ids.length && found.offsets[found.checked]! <= to) {
      const id = found.ids[found.checked]!
      if (!this.#isApplied(id)) throw new Violation(this.#rule, `${lane} was committed up to ${to}, but ${id} is not applied`)
      found.checked++
    }
  }

  /** The store lost commits: everything is looked at again. */
  forget(): void {
    for (const lane of this.#lanes.values()) lane.checked = 0
  }

  /** The first id at or below `to` that is not applied. */
  missing(lane: string, to: number): string | undefined {
    const found = this.#lanes.get(lane)
    return found?.ids.find((id, index) => found.offsets[index]! <= to && !this.#isApplied(id))
  }
}
