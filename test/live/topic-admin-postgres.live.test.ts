import { afterAll, beforeAll, expect, it } from 'vitest'
import { PostgresEventLog } from '../../src/events/postgres-event-log.ts'
import { PostgresEventPublisher } from '../../src/events/postgres-event-publisher.ts'
import { PostgresTopicAdmin } from '../../src/events/postgres-topic-admin.ts'
import { measureRate } from '../../src/events/topic-rate.ts'
import { topicDrift } from '../../src/events/topic-settings.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const hour = 3_600_000
let database: TestDatabase
beforeAll(async () => void (database = await createTestDatabase()))
afterAll(() => database.drop())

it('makes a topic of the log in Postgres, finds its drift at the measured rate, and mends it', async () => {
  await using admin = new PostgresTopicAdmin({ url: database.url }, 'trades')
  const wanted = { partitions: 2, replication: undefined, minInsyncReplicas: undefined, replayWindowMs: hour }
  expect(await admin.describe()).toBeNull()
  await admin.create(wanted)
  expect(await admin.describe()).toMatchObject({ partitions: 2, retentionMs: 1.25 * hour, retentionEvents: null, cleanupPolicy: null })

  await using publisher = new PostgresEventPublisher({ url: database.url })
  const nowMs = Date.now()
  const value = Buffer.alloc(100)
  await publisher.publish(
    'trades',
    1,
    Array.from({ length: 600 }, (_, n) => ({ timestampMs: nowMs - 60_000 + n * 100, key: null, value })),
  )
  await using log = new PostgresEventLog({ url: database.url, topic: 'trades', pipelineGroup: 'p' })
  const rate = await measureRate(log, 2, nowMs)
  expect(rate.eventsPerSecond).toBeCloseTo(10, 1)
  expect(rate.bytesPerSecond).toBeCloseTo(1700, 0)
  expect(await log.retentionMs()).toBe(1.25 * hour)

  await database.query('update forebay.log_topics set retention_ms = 60000, retention_events = 1000')
  const grown = { ...wanted, partitions: 3 }
  const drifts = topicDrift(grown, (await admin.describe())!, rate)
  expect(drifts.map(({ setting }) => setting).toSorted()).toEqual(['partitions', 'retentionEvents', 'retentionMs'])
  await admin.apply(drifts.flatMap(({ change }) => change ?? []))
  expect(await admin.describe()).toMatchObject({ partitions: 3, retentionMs: 1.25 * hour, retentionEvents: 54_000 })
  expect(topicDrift(grown, (await admin.describe())!, rate)).toEqual([])
  expect(await log.range(2)).toEqual({ startOffset: 0n, endOffset: 0n })
  expect((await log.range(1)).endOffset).toBe(600n)
})
