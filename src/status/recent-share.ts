/** Which share of the last ten seconds something took, in ten numbers. */
const spanS = 10

export class RecentShare {
  readonly #tookMs = new Float64Array(spanS)
  #second = 0

  /** `tookMs` of it ended at `nowMs`. */
  add(nowMs: number, tookMs: number): void {
    this.#goTo(nowMs)
    this.#tookMs[this.#second % spanS]! += tookMs
  }

  /** 0 to 1, of whole seconds that are over and the present one. */
  share(nowMs: number): number {
    this.#goTo(nowMs)
    let sum = 0
    for (const tookMs of this.#tookMs) sum += tookMs
    return Math.min(1, sum / (spanS * 1000))
  }

  #goTo(nowMs: number): void {
    const second = Math.floor(nowMs / 1000)
    for (let passed = Math.max(this.#second + 1, second - spanS + 1); passed <= second; passed++) this.#tookMs[passed % spanS] = 0
    this.#second = second
  }
}
