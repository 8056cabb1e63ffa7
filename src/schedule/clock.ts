/**
 * Time as the core sees it. Core classes read no other time, so that a simulation owns every wait.
 */
export interface Clock {
  /** Monotonic milliseconds with a fraction. */
  now(): number
  /** Wall-clock milliseconds since 1970, for records that people read. */
  wallMs(): number
  /** Resolves after `ms` (0: once waiting I/O had its turn), or early (without throwing) when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** The machine's own clock. */
export class SystemClock implements Clock {
  now(): number {
    return performance.now()
  }

  wallMs(): number {
    return Date.now()
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    if (ms <= 0) return new Promise((resolve) => setImmediate(resolve))
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
    })
  }
}
