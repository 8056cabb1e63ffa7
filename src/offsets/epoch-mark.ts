import { createHash } from 'node:crypto'
import type { Fingerprint } from './epochs.ts'

/**
 * What tells two epochs of one number apart: a short hash of fingerprint and reset number. A failover of Postgres may forget an
 * epoch, and another one then takes its number; the rings of the forgotten one must not be taken for those of the other.
 */
export function epochMark({ queues, hash, segmentBytesMax, eventBytesMax, tasks, version }: Fingerprint, reset: number): string {
  const text = JSON.stringify([queues, hash, segmentBytesMax, eventBytesMax, tasks, version, reset])
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}
