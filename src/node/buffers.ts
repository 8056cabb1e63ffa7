/** What a node holds of the events on their way, against the bound that was computed at its start (I10). */
import type { EventLog } from '../events/event-log.ts'
import type { Node } from './node.ts'
import type { BufferStatus } from '../status/status.ts'

/** `bytesMax`: the computed bound, see memory-bound.ts. */
export function bufferStatus(node: Node, log: EventLog, bytesMax: number): BufferStatus {
  const fetchedBytes = log.heldBytes ?? 0
  let unsentBytes = 0
  for (const { part } of node.owners.values()) for (const outbox of part?.outboxes ?? []) unsentBytes += outbox.bufferedBytes
  let unflushedBytes = 0
  for (const reader of node.readers) unflushedBytes += reader.heldBytes
  return { fetchedBytes, unsentBytes, unflushedBytes, bytes: fetchedBytes + unsentBytes + unflushedBytes, bytesMax }
}
