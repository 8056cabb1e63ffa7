/** What a person sees while a run goes on, on standard error: a bar while lines are fed, else one changing line; plain lines without a terminal. */
import cliProgress from 'cli-progress'

const plainIntervalMs = 10_000

export class LiveDisplay {
  readonly #stream: NodeJS.WriteStream
  #bar: cliProgress.SingleBar | undefined
  #hasLine = false
  #lastPlainMs = 0
  #text = ''

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream
  }

  /** A sentence that stays. */
  say(sentence: string): void {
    this.#clear()
    this.#stream.write(`${sentence}\n`)
    this.#bar?.render()
  }

  /** Shows the bar of a feed of `total` lines; on a terminal only. */
  startBar(total: number): void {
    if (!this.#stream.isTTY) return
    this.#clear()
    this.#bar = new cliProgress.SingleBar({
      stream: this.#stream,
      format: 'feeding {bar} {value}/{total}  {text}',
      hideCursor: true,
      fps: 5,
      linewrap: false,
      barsize: 24,
    })
    this.#bar.start(total, 0, { text: '' })
  }

  fed(lines: number): void {
    this.#bar?.update(lines, { text: this.#text })
  }

  stopBar(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }

  /** The newest state of the run. */
  show(text: string): void {
    this.#text = text
    if (this.#bar !== undefined) this.#bar.update({ text })
    else if (this.#stream.isTTY) {
      this.#stream.write(`\r\u001B[2K${text}`)
      this.#hasLine = true
    } else if (performance.now() - this.#lastPlainMs >= plainIntervalMs || this.#lastPlainMs === 0) {
      this.#lastPlainMs = performance.now()
      this.#stream.write(`${text}\n`)
    }
  }

  close(): void {
    this.stopBar()
    this.#clear()
  }

  #clear(): void {
    if (this.#hasLine) this.#stream.write('\r\u001B[2K')
    this.#hasLine = false
  }
}
