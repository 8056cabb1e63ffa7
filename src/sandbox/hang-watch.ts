/** Starts the thread that watches this one: see `hang-watch-thread.ts`. */
import inspector from 'node:inspector'
import { Worker } from 'node:worker_threads'
import { converting } from '../ingest/converting.ts'

export interface HangWatchOptions {
  /** How long this thread may stand still; 0: as long as it likes. */
  readonly hangTimeoutMs: number
  /** The process ends when this is no longer its parent. */
  readonly parentPid?: number
  /** The process ends when it holds more memory than this, of whatever kind. */
  readonly memoryBytesMax?: number
  /** What is said of a place. */
  readonly topic?: string
  readonly tasks?: readonly string[]
  /** Where a death is counted. */
  readonly book?: { readonly url: string; readonly pipeline: string }
}

export interface HangWatchData extends HangWatchOptions {
  readonly memory: SharedArrayBuffer
  readonly intervalMs: number
  readonly topic: string
  readonly tasks: readonly string[]
}

const looksPerTimeout = 20
const intervalMsMax = 1000
const intervalMsMin = 20
/** Memory grows by a gigabyte a second. */
const memoryIntervalMs = 100

/** Watches from now on; returns what ends it. Nothing is watched while a debugger is attached, which stops this thread as it likes. */
export function startHangWatch(options: HangWatchOptions): () => void {
  if (inspector.url() !== undefined || (options.hangTimeoutMs === 0 && options.parentPid === undefined)) return () => undefined
  const { hangTimeoutMs, memoryBytesMax, topic = '', tasks = [] } = options
  const mostMs = memoryBytesMax === undefined ? intervalMsMax : memoryIntervalMs
  const intervalMs = Math.max(intervalMsMin, Math.min(mostMs, hangTimeoutMs === 0 ? mostMs : hangTimeoutMs / looksPerTimeout))
  const workerData: HangWatchData = { ...options, topic, tasks, memory: converting.memory, intervalMs }
  const worker = startThread(workerData)
  worker.unref()
  const beat = hangTimeoutMs === 0 ? undefined : setInterval(() => converting.beat(), intervalMs).unref()
  return () => {
    clearInterval(beat)
    void worker.terminate()
  }
}

function startThread(workerData: HangWatchData): Worker {
  const isSource = import.meta.url.endsWith('.ts')
  const module = new URL(`./hang-watch-thread${isSource ? '.ts' : '.js'}`, import.meta.url)
  if (!isSource) return new Worker(module, { workerData })
  // A thread does not take over the loader that runs the sources.
  const code = `import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))}).then(({ register }) => (register(), import(${JSON.stringify(module.href)})))`
  return new Worker(code, { eval: true, workerData })
}
