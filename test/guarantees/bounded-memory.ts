/** I10: what is held never exceeds the computed bound. */
import { demand } from './violation.ts'

export class BoundedMemory {
  readonly #bytesMax: number
  /** The most that was ever held. */
  peakBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  hold(holder: string, bytes: number): void {
    if (bytes > this.peakBytes) this.peakBytes = bytes
    demand(bytes <= this.#bytesMax, 'I10', () => `${holder} holds ${bytes} bytes, the bound is ${this.#bytesMax}`)
  }
}
