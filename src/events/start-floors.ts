import { floorBefore } from './event-log.ts'
import type { EventLog } from './event-log.ts'

/** The floor of each partition for a pipeline that begins at `startAt` (a time in milliseconds since 1970). */
export async function startFloors(
  log: EventLog,
  partitions: number,
  startAt: 'earliest' | 'latest' | number,
): Promise<Map<number, bigint>> {
  const floors = new Map<number, bigint>()
  for (let partition = 0; partition < partitions; partition++) {
    const { startOffset, endOffset } = await log.range(partition)
    const nextOffset = startAt === 'earliest' ? startOffset : startAt === 'latest' ? endOffset : await log.offsetAt(partition, startAt)
    floors.set(partition, floorBefore(nextOffset))
  }
  return floors
}
