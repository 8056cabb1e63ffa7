import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

describe('the event log on Kafka', () => {
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
