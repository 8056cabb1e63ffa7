import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CompressionTypes } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventLog, EventRecord } from '../../src/events/event-log.ts'
import { KafkaEventLog } from '../../src/events/kafka-event-log.ts'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'
import type { ServerHandle } from '../../src/launch/server.ts'
import { describeEventLog } from '../ports/event-log.contract.ts'
import { kafkaHarness } from '../ports/event-log-harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay-event-log-'))
let jars: string
let kafka: ServerHandle
const start = () => startKafka({ dir, jars, heapMb: 384 })
beforeAll(async () => {
  jars = (await provisionJars(serversFolder)).kafka
  kafka = await start()
}, 300_000)
afterAll(async () => {
  await kafka.stop()
  rmSync(dir, { recursive: true, force: true })
}, 30_000)

describeEventLog('Kafka', () => kafkaHarness([kafka.address], 'contract'))

/** Every event of partition 0 from `from` on. */
async function allOf(log: EventLog, from = 0n): Promise<EventRecord[]> {
  const { endOffset } = await log.range(0)
  const cursor = await log.open(0, from)
  const found: EventRecord[] = []
  for (let last = from - 1n; last < endOffset - 1n;) {
    const batch = await cursor.poll(2_000)
    for (const event of batch.events) found.push(event)
    last = batch.lastOffset
  }
  await cursor.close()
  return found
}

describe('the event log on Kafka', () => {
  it('reads what the Java producer writes in every codec, alone, in full batches and in transactions, once and in order', async () => {
    const harness = await kafkaHarness([kafka.address], 'codecs')
    const source = fileURLToPath(new URL('../support/java/CodecProducer.java', import.meta.url))
    const args = ['-cp', jars, '-Xmx256m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', source, kafka.address, 'codecs', '4000']
    const { stdout } = await promisify(execFile)('java', args, { timeout: 100_000 })
    const count = Number(/kept (\d+)/.exec(stdout)![1])
    const limits = { inflatedBytesMax: 64 * 1024, fetchBytesMax: 256 * 1024 }
    const names = { brokers: [kafka.address], clientId: 'test', topic: 'codecs', pipelineGroup: 'g' }
    for (const log of [harness.log, new KafkaEventLog({ ...names, ...limits }), new KafkaEventLog(names)]) {
      const events = await allOf(log)
      const wrong = events.findIndex(
        ({ value, headers, key, timestampMs }, n) =>
          String(value) !== `${n} and some more` ||
          headers?.text('traceparent') !== `00-${n}` ||
          key?.toString('hex') !== '4181' ||
          timestampMs !== 1_700_000_000_001 + n,
      )
      expect([events.length, wrong]).toEqual([count, -1])
      // A fetch that begins in the middle of a batch, of any codec.
      for (let at = 0; at < count; at += 3001) {
        const { offset, value } = events[at]!
        expect(String((await log.eventAt(0, offset))?.value)).toBe(String(value))
      }
      const [from] = [events[Math.floor(count / 2)]!.offset]
      expect((await allOf(log, from)).map(({ offset }) => offset)).toEqual(events.slice(Math.floor(count / 2)).map(({ offset }) => offset))
      if (log !== harness.log) await log[Symbol.asyncDispose]()
    }
    await harness.stop()
  }, 150_000)

  it('passes events that inflate far beyond the limit, without holding them', async () => {
    const harness = await kafkaHarness([kafka.address], 'inflating')
    const producer = harness.kafka.producer()
    await producer.connect()
    const large = Buffer.alloc(40_000_000, 'a')
    const messages = [{ value: 'before' }, { value: large, headers: { traceparent: '00-1' } }, { value: large }, { value: 'after' }]
    await producer.send({
      topic: 'inflating',
      compression: CompressionTypes.GZIP,
      messages: messages.map((message) => ({ ...message, partition: 0 })),
    })
    await producer.disconnect()
    const names = { brokers: [kafka.address], clientId: 'test', topic: 'inflating', pipelineGroup: 'g' }
    await using log = new KafkaEventLog({ ...names, eventBytesMax: 1 << 20 })
    const events = await allOf(log)
    expect(events.map(({ value, oversizeBytes = 0 }) => [value!.length, oversizeBytes >= 40_000_000])).toEqual([
      [6, false],
      [64 * 1024, true],
      [64 * 1024, true],
      [5, false],
    ])
    expect(events[1]!.headers?.text('traceparent')).toBe('00-1')
    expect(log.heldBytes).toBe(0)
    await harness.stop()
  }, 60_000)

  it('leaves the events of aborted transactions out, wherever a read begins', async () => {
    const harness = await kafkaHarness([kafka.address], 'aborted')
    for (let round = 0; round < 5; round++) {
      await harness.publish(0, [`kept${round}`], 10_000)
      await harness.leaveGap(0)
    }
    const { endOffset } = await harness.log.range(0)
    for (let from = 0n; from < endOffset; from++) {
      const cursor = await harness.log.open(0, from)
      const found: bigint[] = []
      for (let last = from - 1n; last < endOffset - 1n;) {
        const batch = await cursor.poll(2_000)
        found.push(...batch.events.map(({ offset }) => offset))
        last = batch.lastOffset
      }
      expect(found, `from ${from}`).toEqual([0n, 5n, 10n, 15n, 20n].filter((offset) => offset >= from))
      await cursor.close()
    }
    await harness.stop()
  }, 60_000)

  it('says that a topic and a partition are missing', async () => {
    await using log = new KafkaEventLog({ brokers: [kafka.address], clientId: 'test', topic: 'nowhere', pipelineGroup: 'g' })
    await expect(log.identity()).rejects.toMatchObject({ code: 'FB_TOPIC_MISSING' })
    await using contract = new KafkaEventLog({ brokers: [kafka.address], clientId: 'test', topic: 'contract', pipelineGroup: 'g' })
    await expect(contract.range(99)).rejects.toMatchObject({ code: 'FB_TOPIC_MISSING' })
  }, 30_000)

  it('reads every event once and in order while the broker is killed and comes back', async () => {
    const harness = await kafkaHarness([kafka.address], 'killed')
    const count = 4_000
    for (let n = 0; n < count; n += 500)
      await harness.publish(
        0,
        Array.from({ length: 500 }, (_, i) => `${n + i}`),
        1_000,
      )
    const cursor = await harness.log.open(0, 0n)
    const found: string[] = []
    let refusals = 0
    let restarted: Promise<ServerHandle> | null = null
    while (found.length < count) {
      try {
        for (const { value } of (await cursor.poll(200)).events) found.push(String(value))
      } catch (error) {
        expect(error).toMatchObject({ code: 'FB_EVENT_LOG_UNREACHABLE' })
        refusals++
        restarted ??= start()
      }
      if (found.length >= 1_000 && kafka.kill('SIGKILL')) await kafka.exited
    }
    kafka = await restarted!
    expect(found).toEqual(Array.from({ length: count }, (_, n) => `${n}`))
    expect(refusals).toBeGreaterThan(0)
    await harness.log.commit(new Map([[0, 5n]]))
    expect(await harness.committed(0)).toBe(5n)
    await harness.stop()
  }, 120_000)
})
