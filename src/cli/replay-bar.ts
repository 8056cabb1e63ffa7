/** The progress of a replay on standard error: a bar with rate and time left on a terminal, else a line now and then. */
import cliProgress from 'cli-progress'
import { durationWords } from './replay-text.ts'
import type { Progress } from '../replay/progress.ts'

const plainIntervalMs = 5_000
const rateWindowMs = 10_000

export class ReplayBar implements Disposable {
  readonly #stream: NodeJS.WriteStream
  readonly #isQuiet: boolean
  #bar: cliProgress.SingleBar | undefined
  #doing = ''
  #plainMs = performance.now()
  /** Samples of the last seconds: what is slow now counts, not what was fast before. */
  #samples: { ms: number; done: number; events: number }[] = []

  constructor({ isQuiet, stream = process.stderr }: { isQuiet: boolean; stream?: NodeJS.WriteStream }) {
    this.#stream = stream
    this.#isQuiet = isQuiet
  }

  show(progress: Progress): void {
    if (this.#isQuiet || progress.total === 0) return
    if (progress.doing !== this.#doing) this.#begin(progress)
    const text = this.#text(progress)
    if (this.#bar !== undefined) {
      this.#bar.setTotal(progress.total)
      this.#bar.update(progress.done, { text })
    } else if (performance.now() - this.#plainMs >= plainIntervalMs) {
      this.#plainMs = performance.now()
      this.#stream.write(`${progress.doing}: ${Math.floor((progress.done * 100) / progress.total)}%, ${text}\n`)
    }
  }

  [Symbol.dispose](): void {
    this.#bar?.stop()
    this.#bar = undefined
  }

  #begin(progress: Progress): void {
    this[Symbol.dispose]()
    this.#doing = progress.doing
    this.#samples = []
    if (!this.#stream.isTTY) return
    this.#bar = new cliProgress.SingleBar({
      stream: this.#stream,
      format: `${progress.doing} {bar} {percentage}%  {text}`,
      hideCursor: true,
      fps: 5,
      linewrap: false,
      barsize: 24,
    })
    this.#bar.start(progress.total, progress.done, { text: '' })
  }

  #text({ done, total, events }: Progress): string {
    const now = performance.now()
    this.#samples.push({ ms: now, done, events })
    while (this.#samples.length > 2 && now - this.#samples[0]!.ms > rateWindowMs) this.#samples.shift()
    const first = this.#samples[0]!
    const seconds = (now - first.ms) / 1000
    if (seconds <= 0 || done <= first.done) return `${events} events`
    const perSecond = (events - first.events) / seconds
    const leftMs = ((total - done) / (done - first.done)) * (now - first.ms)
    return `${events} events, ${Math.round(perSecond)}/s, ${durationWords(leftMs)} left`
  }
}
