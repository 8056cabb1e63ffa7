import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
