/**
 * The event behind a dead letter: from the event log, or what the letter kept of it.
 */
import type { EventLog, EventRecord } from '../events/event-log.ts'
import { eventKey, prepareEvents } from '../ingest/converter.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import type { DeadLetterRow } from './dead-letters.ts'

/** `log`: the record itself. `letter`: only its value, since the log no longer holds it. */
export type DeadEvent =
  | { readonly from: 'log'; readonly record: EventRecord }
  | { readonly from: 'letter'; readonly record: EventRecord }
  | { readonly from: 'nowhere'; readonly why: string }

/** Throws FB_EVENT_LOG_UNREACHABLE. */
export async function eventOf(letter: DeadLetterRow, log: EventLog, topic: string): Promise<DeadEvent> {
  const { partition, offset, payload, isPayloadCut, isJob } = letter
  const record = letter.topic === topic ? await log.eventAt(partition, offset) : undefined
  if (record !== undefined && isSame(record, letter)) return { from: 'log', record }
  const gone = record === undefined ? 'the event log no longer holds the event' : 'the event log holds another event at this offset'
  if (isJob) return { from: 'nowhere', why: gone }
  if (payload === null) return { from: 'nowhere', why: `${gone}, and the letter has no value of it` }
  if (isPayloadCut) return { from: 'nowhere', why: `${gone}, and the letter kept only the beginning of it` }
  return { from: 'letter', record: { offset, timestampMs: letter.createdAt.getTime(), key: null, value: payload } }
}

/** The record's time tells apart whatever came later to the offset; a letter of a whole event kept its value too, or the beginning of it. */
function isSame({ value, timestampMs }: EventRecord, { payload, isJob, isPayloadCut, eventTimeMs }: DeadLetterRow): boolean {
  if (eventTimeMs !== null && eventTimeMs !== timestampMs) return false
  if (isJob) return true
  if (payload === null) return isPayloadCut || value === null
  return value !== null && (isPayloadCut ? value.subarray(0, payload.length) : value).equals(payload)
}

/** The key of the event as a node takes it; undefined when it cannot be taken, or the letter alone is left, which kept no record key. */
export async function keyOf(event: DeadEvent, pipeline: Pick<Pipeline, 'key' | 'source'>, partition: number): Promise<string | undefined> {
  if (event.from === 'nowhere' || (event.from === 'letter' && pipeline.key === undefined)) return undefined
  if (pipeline.key !== undefined) await prepareEvents(pipeline.source, [event.record])
  try {
    return eventKey(pipeline, event.record, partition)
  } catch {
    return undefined
  }
}
