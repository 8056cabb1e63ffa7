import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PostgresEventLog } from '../../src/events/postgres-event-log.ts'
import { PostgresEventPublisher } from '../../src/events/postgres-event-publisher.ts'
import { discardPostgres, type PostgresHandle, startPostgres } from '../../src/launch/postgres-server.ts'
import { describeEventLog } from '../ports/event-log.contract.ts'
import { postgresHarness } from '../ports/event-log-harness.ts'

const dir = join(mkdtempSync(join(tmpdir(), 'forebay-event-log-')), 'postgres')
let postgres: PostgresHandle
beforeAll(async () => {
  postgres = await startPostgres({ dir })
}, 60_000)
afterAll(async () => {
  await postgres.stop()
  await discardPostgres(dir)
  rmSync(join(dir, '..'), { recursive: true, force: true })
}, 30_000)

describeEventLog('Postgres', () => postgresHarness(postgres.url, 'contract'))

const event = (value: string, timestampMs = 1) => ({ timestampMs, key: null, value: Buffer.from(value), headers: { line: value } })

describe('the event log in Postgres', () => {
  it('gives many publishers offsets without a gap, seen by a reader in order while they write', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url, connectionsMax: 8 })
    await publisher.createTopic('busy', { partitions: 1 })
    await using log = new PostgresEventLog({ url: postgres.url, topic: 'busy', pipelineGroup: 'g' })
    const cursor = await log.open(0, 0n)
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; n < 25; n++) await publisher.publish('busy', 0, [event(`${writer}-${n}-0`), event(`${writer}-${n}-1`)])
    })
    const offsets: bigint[] = []
    while (offsets.length < 400) for (const { offset } of (await cursor.poll(2_000)).events) offsets.push(offset)
    await Promise.all(writers)
    expect(offsets).toEqual(Array.from({ length: 400 }, (_, n) => BigInt(n)))
  })

  it('keeps headers and hands back the newest event, also after everything before it was trimmed', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    await publisher.createTopic('kept', { partitions: 2, retentionEvents: 1 })
    expect(await publisher.lastRecord('kept', 0)).toBeNull()
    await publisher.publish('kept', 0, [event('1'), event('2'), event('3')])
    expect(await publisher.lastRecord('kept', 0)).toMatchObject({ offset: 2n, headers: { line: '3' } })
    expect(await publisher.trim('kept')).toBe(2)
    expect(await publisher.lastRecord('kept', 0)).toMatchObject({ offset: 2n, headers: { line: '3' } })
    await using log = new PostgresEventLog({ url: postgres.url, topic: 'kept', pipelineGroup: 'g' })
    expect(await log.range(0)).toEqual({ startOffset: 2n, endOffset: 3n })
  })

  it('cuts a batch at any number of events and bytes, and loses none, whatever their sizes and gaps', { timeout: 60_000 }, async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    const pool = new pg.Pool({ connectionString: postgres.url })
    let runs = 0
    const sizes = fc.array(fc.record({ key: fc.nat(50), value: fc.oneof(fc.nat(40), fc.nat(3000)), isGone: fc.boolean() }), {
      minLength: 1,
      maxLength: 60,
    })
    await fc.assert(
      fc.asyncProperty(
        sizes,
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 40 }),
        async (events, fetchBytesMax, fetchEventsMax) => {
          const topic = `cut-${runs++}`
          await publisher.createTopic(topic, { partitions: 1 })
          const made = events.map(({ key, value }) => ({ timestampMs: 5, key: Buffer.alloc(key, 'k'), value: Buffer.alloc(value, 'v') }))
          await publisher.publish(topic, 0, made)
          const gone = events.flatMap(({ isGone }, i) => (isGone ? [i] : []))
          const where = 'topic = (select topic from forebay.log_topics where name = $1) and event_offset = any($2::bigint[])'
          await pool.query(`delete from forebay.log_events where ${where}`, [topic, gone])
          await using log = new PostgresEventLog({ url: postgres.url, topic, pipelineGroup: 'g', fetchBytesMax, fetchEventsMax })
          const cursor = await log.open(0, 0n)
          const found: [number, number][] = []
          for (let last = -1n; last < BigInt(events.length - 1);) {
            const batch = await cursor.poll(1000)
            expect(batch.lastOffset).toBeGreaterThan(last)
            expect(batch.events.length).toBeLessThanOrEqual(fetchEventsMax)
            const bytes = batch.events.map(({ key, value }) => key!.length + value!.length)
            // Without its last event a batch stays below the limit.
            expect(bytes.slice(0, -1).reduce((a, b) => a + b, 0)).toBeLessThan(fetchBytesMax)
            expect(batch.bytes).toBe(bytes.reduce((a, b) => a + b, 0))
            for (const { offset, value } of batch.events) found.push([Number(offset), value!.length])
            last = batch.lastOffset
          }
          expect(found).toEqual(events.flatMap(({ value, isGone }, i) => (isGone ? [] : [[i, value]])))
          await cursor.close()
        },
      ),
      { numRuns: 25 },
    )
    await pool.end()
  })

  it('gives times that a record may have, and counts those it moved', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    await publisher.createTopic('times', { partitions: 1 })
    const now = 1_700_000_000_123
    await publisher.publish('times', 0, [event('a', -1), event('b', now), event('c', now * 1_000_000)])
    await using log = new PostgresEventLog({ url: postgres.url, topic: 'times', pipelineGroup: 'g' })
    const cursor = await log.open(0, 0n)
    const { events, clampedTimes } = await cursor.poll(1000)
    expect([events.map(({ timestampMs }) => timestampMs), clampedTimes]).toEqual([[0, now, 253_402_300_799_999], 2])
    expect((await log.eventAt(0, 2n))?.timestampMs).toBe(253_402_300_799_999)
    expect(await log.offsetAt(0, now)).toBe(1n)
    await cursor.close()
  })

  it('trims by age and leaves the young', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    await publisher.createTopic('aged', { partitions: 1, retentionMs: 3_600_000 })
    await publisher.publish('aged', 0, [event('old', 1), event('old', 2), event('young', Date.now())])
    expect(await publisher.trim('aged')).toBe(2)
    expect(await publisher.trim('aged')).toBe(0)
  })

  it('trims everything when all of it is old, and goes on counting', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    await publisher.createTopic('all-old', { partitions: 1, retentionMs: 3_600_000 })
    await publisher.publish('all-old', 0, [event('1', 1), event('2', 2)])
    expect(await publisher.trim('all-old')).toBe(2)
    await using log = new PostgresEventLog({ url: postgres.url, topic: 'all-old', pipelineGroup: 'g' })
    expect(await log.range(0)).toEqual({ startOffset: 2n, endOffset: 2n })
    expect(await publisher.publish('all-old', 0, [event('3', Date.now())])).toBe(2n)
  })

  it('says that a topic is missing and that its partitions differ', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    await using log = new PostgresEventLog({ url: postgres.url, topic: 'nowhere', pipelineGroup: 'g' })
    await expect(log.identity()).rejects.toMatchObject({ code: 'FB_TOPIC_MISSING' })
    await publisher.createTopic('two', { partitions: 2 })
    await expect(publisher.createTopic('two', { partitions: 3 })).rejects.toMatchObject({ code: 'FB_CONFIG' })
  })

  it('goes on where it was after the database was killed and came back', async () => {
    await using publisher = new PostgresEventPublisher({ url: postgres.url })
    await publisher.createTopic('survivor', { partitions: 1 })
    await publisher.publish('survivor', 0, [event('a'), event('b')])
    await using log = new PostgresEventLog({ url: postgres.url, topic: 'survivor', pipelineGroup: 'g' })
    const cursor = await log.open(0, 0n)
    expect((await cursor.poll(2_000)).lastOffset).toBe(1n)
    postgres.kill('SIGKILL')
    await postgres.exited
    await expect(cursor.poll(300)).rejects.toMatchObject({ code: 'FB_EVENT_LOG_UNREACHABLE' })
    postgres = await startPostgres({ dir })
    await publisher.publish('survivor', 0, [event('c')])
    const batch = await cursor.poll(5_000)
    expect(batch.events.map(({ value }) => String(value))).toEqual(['c'])
  }, 60_000)
})
