/** One process of the sandbox. It *starts*, then *rests* or *converts*, one call at a time, and once it has died it is of no more use. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'
import { ForebayError } from '../errors.ts'
import { nodeArguments } from '../grid/node-command.ts'
import { progressFd } from './sandbox-wire.ts'
import type { FromSandbox, SandboxSetup, ToSandbox, WireRecord } from './sandbox-wire.ts'

/** `index`: of the event it had begun with. `how` completes "the process …". */
export interface Death {
  readonly index: number | undefined
  readonly how: string
}

/** Converted, or not yet: what the decoder must know first cannot be fetched. */
type Answer = Extract<FromSandbox, { converted: unknown } | { unprepared: unknown }>

/** A pipeline may load much; what hangs while it loads hangs in a node too. */
const startMs = 60_000
const turnsPerLimit = 20
/** What the last words of a process may still need after its end. */
const lastWordsMs = 500
const heapMb = 512
const wordsCharsMax = 4000
const fatalLine = /^FATAL ERROR: .*/m

export class SandboxProcess {
  readonly ready: Promise<void>
  readonly #child: ChildProcess
  readonly #eventMs: number
  readonly #death: Promise<Death>
  #onMessage: (message: FromSandbox) => void = () => undefined
  #index: number | undefined
  #words = ''
  #hasDied = false
  /** Set when it was ended for taking too long. */
  #lateMs: number | undefined
  #turns = 0
  #expiry: NodeJS.Timeout | undefined

  constructor(setup: Omit<SandboxSetup, 'parentPid'>, eventMs: number) {
    this.#eventMs = eventMs
    const [path, ...flags] = nodeArguments('./sandbox-child', import.meta.url).toReversed()
    this.#child = fork(path!, [], {
      execArgv: [`--max-old-space-size=${heapMb}`, ...flags.toReversed()],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', 'pipe'],
    })
    this.#child.on('message', (message: FromSandbox) => this.#onMessage(message))
    // A message to one that has just died.
    this.#child.on('error', () => undefined)
    this.#child.stderr!.on('data', (part: Buffer) => (this.#words = (this.#words + part.toString()).slice(0, wordsCharsMax)))
    const progress = this.#child.stdio[progressFd] as Readable
    progress.on('data', (bytes: Buffer) => {
      this.#turns = 0
      this.#index = bytes.at(-1)
    })
    progress.on('error', () => undefined)
    this.#death = this.#untilDeath()
    this.ready = this.#start(setup)
  }

  /** Converts; resolves to its death when it does not live on. */
  async convert(partition: number, records: readonly WireRecord[]): Promise<Answer | { died: Death }> {
    this.#index = undefined
    const answer = new Promise<Answer>((resolve) => {
      this.#onMessage = (message) => ('converted' in message || 'unprepared' in message) && resolve(message)
    })
    this.#send({ partition, records })
    return this.#within(this.#eventMs, answer)
  }

  /** Ends by itself unless it is woken within `timeMs`. */
  rest(timeMs: number): void {
    this.#expiry = setTimeout(() => this.end(), timeMs)
    this.#expiry.unref()
  }

  /** False when it has died. */
  wake(): boolean {
    clearTimeout(this.#expiry)
    return !this.#hasDied
  }

  end(): void {
    clearTimeout(this.#expiry)
    this.#child.kill('SIGKILL')
  }

  async #start(setup: Omit<SandboxSetup, 'parentPid'>): Promise<void> {
    const answer = new Promise<FromSandbox>((resolve) => (this.#onMessage = resolve))
    this.#send({ setup: { ...setup, parentPid: process.pid } })
    const outcome = await this.#within(startMs, answer)
    if ('isReady' in outcome) return
    this.end()
    const why = 'refusal' in outcome ? outcome.refusal : 'died' in outcome ? `it ${outcome.died.how}` : 'it answered something else'
    throw new ForebayError('FB_SANDBOX', `The process for suspicious events does not start: ${why}.`)
  }

  /** The answer, or the death of a process that died, or was ended since `limitMs` passed without progress. */
  async #within<T>(limitMs: number, answer: Promise<T>): Promise<T | { died: Death }> {
    this.#turns = 0
    const timer = setInterval(() => {
      if (++this.#turns < turnsPerLimit) return
      this.#lateMs = limitMs
      this.#child.kill('SIGKILL')
    }, limitMs / turnsPerLimit)
    try {
      return await Promise.race([answer, this.#death.then((died) => ({ died }))])
    } finally {
      clearInterval(timer)
    }
  }

  #untilDeath(): Promise<Death> {
    return new Promise((resolve) => {
      const settle = (code: number | null, signal: string | null) => resolve({ index: this.#index, how: this.#howOf(code, signal) })
      this.#child.once('error', () => {
        this.#hasDied = true
        settle(null, null)
      })
      this.#child.once('exit', (code, signal) => {
        this.#hasDied = true
        const late = setTimeout(() => settle(code, signal), lastWordsMs)
        this.#child.once('close', () => {
          clearTimeout(late)
          settle(code, signal)
        })
      })
    })
  }

  #howOf(code: number | null, signal: string | null): string {
    if (this.#lateMs !== undefined) return `did not come back from it within ${Math.round(this.#lateMs / 100) / 10} s and was ended`
    const fatal = fatalLine.exec(this.#words)?.[0]
    const words = fatal === undefined ? '' : ` (${fatal})`
    return signal === null ? `ended with exit code ${code ?? 'unknown'}${words}` : `was ended by ${signal}${words}`
  }

  #send(message: ToSandbox): void {
    this.#child.send(message, () => undefined)
  }
}
