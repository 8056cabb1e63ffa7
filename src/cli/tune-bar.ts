/** The progress of `forebay tune` on standard error: one line that is drawn again on a terminal, else a line for each step. */
import type { OnStep } from '../tune/tune-step.ts'

const barWidth = 24
const redrawMs = 100

export class TuneBar implements Disposable {
  readonly #stream: NodeJS.WriteStream
  #doing = ''
  #drawnMs = -Infinity
  #isDrawn = false

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream
  }

  /** For a step that is the part of the whole from `from` to `to` (0 to 1). */
  part(from: number, to: number): OnStep {
    return (doing, share) => this.#show(doing, from + share * (to - from))
  }

  [Symbol.dispose](): void {
    if (this.#isDrawn) this.#stream.write('\r\u001b[K')
    this.#isDrawn = false
  }

  #show(doing: string, share: number): void {
    const isNew = doing !== this.#doing
    this.#doing = doing
    if (!this.#stream.isTTY) {
      if (isNew) this.#stream.write(`measuring: ${doing}\n`)
      return
    }
    const nowMs = performance.now()
    if (!isNew && nowMs - this.#drawnMs < redrawMs) return
    this.#drawnMs = nowMs
    this.#isDrawn = true
    const cells = Math.round(share * barWidth)
    this.#stream.write(`\r\u001b[K${'█'.repeat(cells)}${'░'.repeat(barWidth - cells)} ${Math.round(share * 100)}%  ${doing}`)
  }
}
