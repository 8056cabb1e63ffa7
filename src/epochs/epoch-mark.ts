import type { Fingerprint } from '../ledger/fingerprint.ts'
import { createHash } from 'node:crypto'

/** The mark of an epoch that was opened by a forebay that stored none: a short hash of fingerprint and reset number. */
export function epochMark({ queues, hash, segmentBytesMax, eventBytesMax, tasks, version }: Fingerprint, reset: number): string {
  const text = JSON.stringify([queues, hash, segmentBytesMax, eventBytesMax, tasks, version, reset])
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}
