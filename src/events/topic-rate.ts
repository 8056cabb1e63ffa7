import type { EventLog } from './event-log.ts'
import type { TopicRate } from './topic-settings.ts'

const spanMs = 600_000
const sampleEvents = 200n
/** What a record takes in the log beside key and value. */
const recordBytes = 70
const defaultBytes = 256

/** What the busiest partition took in over the last ten minutes. Throws what the log throws. */
export async function measureRate(log: EventLog, partitions: number, nowMs: number): Promise<TopicRate> {
  let busiest: TopicRate = { bytesPerSecond: 0, eventsPerSecond: 0 }
  for (let partition = 0; partition < partitions; partition++) {
    const { startOffset, endOffset } = await log.range(partition)
    const from = await log.offsetAt(partition, nowMs - spanMs)
    if (from >= endOffset) continue
    const first = await log.eventAt(partition, from)
    const seconds = Math.max(1, (first === undefined ? spanMs : Math.min(spanMs, nowMs - first.timestampMs)) / 1000)
    const eventsPerSecond = Number(endOffset - from) / seconds
    const at = endOffset - sampleEvents > startOffset ? endOffset - sampleEvents : startOffset
    const rate = { eventsPerSecond, bytesPerSecond: eventsPerSecond * (await eventBytes(log, partition, at)) }
    if (rate.bytesPerSecond > busiest.bytesPerSecond) busiest = rate
  }
  return busiest
}

/** Mean size of the events from `nextOffset` on. */
async function eventBytes(log: EventLog, partition: number, nextOffset: bigint): Promise<number> {
  const cursor = await log.open(partition, nextOffset)
  try {
    const { events } = await cursor.poll(500)
    if (events.length === 0) return defaultBytes
    const bytes = events.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0) + recordBytes, 0)
    return bytes / events.length
  } finally {
    await cursor.close()
  }
}
