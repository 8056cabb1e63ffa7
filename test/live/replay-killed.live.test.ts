/**
 * A replay of a time range beside a live pipeline, on Kafka, killed three times: the rows are exactly those of the range.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CommandFolder, commandFolder } from '../support/forebay-command.ts'
import {
  type Feed,
  type TestKafka,
  ask,
  createItemTables,
  differenceOf,
  expectedOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  startNode,
  startTestKafka,
} from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const topic = 'replayed-kafka'
let kafka: TestKafka
let database: TestDatabase
let feed: Feed
let command: CommandFolder

beforeAll(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  kafka = await startTestKafka()
  feed = await kafka.feed(topic)
  command = commandFolder({ topic }, { url: database.url, events: kafka.events('command') })
})
afterAll(async () => {
  command[Symbol.dispose]()
  await feed[Symbol.asyncDispose]()
  await database.drop()
})

const rowsOf = async (table: string) =>
  (await ask<Record<string, string>>(database.url, `select * from ${table}`))
    .map((row) => `${row['source_partition']}/${row['source_offset']}/${row['item_key']}/${row['n']}`)
    .toSorted()

async function publish(batches: number): Promise<void> {
  for (let n = 0; n < batches; n++) for (const partition of [0, 1]) await feed.publish(partition, itemValues(partition, 500))
}

it('replays a time range exactly, killed three times, while the live pipeline goes on', { timeout: 400_000 }, async () => {
  await using node = await startNode(itemsPipeline({ topic }), { url: database.url, events: kafka.events('n1') })
  await publish(2)
  await sleep(50)
  const fromMs = Date.now()
  await sleep(50)
  const first = feed.events.length
  await publish(30)
  const last = feed.events.length
  await sleep(50)
  const toMs = Date.now()
  await sleep(50)
  await publish(2)
  await floorsReachEnd(database.url, feed.events)

  const stop = new AbortController()
  const live = (async () => {
    for (let n = 0; n < 5000 && !stop.signal.aborted; n++) {
      await feed.publish(0, itemValues(0, 20))
      await sleep(20)
    }
  })()
  try {
    const range = ['--from', new Date(fromMs).toISOString(), '--to', new Date(toMs).toISOString(), '--task', 'item']
    const written = async () =>
      Number((await ask<{ rows: string }>(database.url, 'select coalesce(sum(rows), 0) as rows from forebay.replay_progress'))[0]!.rows)
    let before = 0
    for (let kill = 0; kill < 3; kill++) {
      const run = kill === 0 ? command.start('replay', ...range, '--into', 'items_again') : command.start('replay', '--resume', '1')
      const deadline = Date.now() + 100_000
      while ((await written()) < before + 3000) {
        if (run.child.exitCode !== null || Date.now() > deadline)
          throw new Error(`too early or too late to kill: ${(await run.ended).stderr}`)
        await sleep(5)
      }
      run.child.kill('SIGKILL')
      await run.ended
      before = await written()
      expect(before).toBeLessThan(last - first)
    }
    expect(await command.json(0, 'replay', 'list')).toMatchObject([{ id: 1, state: 'stopped', target: 'items_again' }])
    expect(await command.json(0, 'replay', '--resume', '1')).toMatchObject({ events: last - first, rows: last - first, state: 'done' })
    expect(await rowsOf('items_again')).toEqual(expectedOf(feed.events.slice(first, last)).items.toSorted())
    expect(await command.json(0, 'replay', '--resume', '1')).toMatchObject({ rows: last - first })
    expect(await command.json(0, 'replay', 'list')).toMatchObject([{ id: 1, state: 'done' }])
  } finally {
    stop.abort()
    await live
  }

  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect((await node.status()).counters).toMatchObject({ repairs: 0, deadLetters: 0 })
  await node.stop()
})

it('says why a merged table cannot be compared once the log has lost its beginning, and refuses offsets that are gone', async () => {
  await kafka.expire(topic, 0)
  await using node = await startNode(itemsPipeline({ topic }), { url: database.url, events: kafka.events('n1') })
  await feed.publish(0, itemValues(0, 50))
  await floorsReachEnd(database.url, feed.events)
  const args = ['replay', '--from', 'earliest', '--verify', '--task']
  expect(await command.json(0, ...args, 'total')).toMatchObject({ tables: [{ isRight: true, incomparable: 7, different: 0 }] })
  expect(await command.json(0, ...args, 'item')).toMatchObject({ tables: [{ isRight: true }] })
  const gone = await command.run('replay', '--from', '0', '--partition', '0', '--task', 'item', '--into', 'gone')
  expect(gone.code).toBe(74)
  expect(gone.stderr).toContain('is gone from the log')
  await node.stop()
})
