/** From where on a table holds its rows: a task that came later, and a reset that emptied tables. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { runNode } from '../../src/main.ts'
import { type CommandFolder, commandFolder } from '../support/forebay-command.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { ask, floorsReachEnd, itemsPipeline, itemValues, nodeSettings, startNode } from '../support/live-node.ts'

// Each command is a process of its own, which starts slowly where the processor is taken.
vi.setConfig({ testTimeout: 240_000 })

const topic = 'begun'
const fixture = itemsDatabase(topic, { isShared: true, retentionEvents: 60 })
let command: CommandFolder

beforeAll(async () => {
  command = commandFolder({ topic }, { url: fixture.url })
})
afterAll(async () => {
  command[Symbol.dispose]()
})

const publish = async () => {
  for (const partition of [0, 1]) await fixture.feed.publish(partition, itemValues(partition, 40))
}
const verify = (code: number) =>
  command.json<{ tables: { task: string; compared: number; isRight: boolean; incomparable: number; notes: string[] }[] }>(
    code,
    'replay',
    '--from',
    'earliest',
    '--verify',
  )

it('compares a task that came later from where it came, and a table that was emptied from its reset on', async () => {
  await publish()
  const stop = new AbortController()
  const settings = { ...nodeSettings({ url: fixture.url }), tasksOnly: ['total', 'latest'] }
  const first = runNode({ settings, pipeline: itemsPipeline({ topic }), fileHash: null, signal: stop.signal })
  await floorsReachEnd(fixture.url, fixture.feed.events)
  stop.abort()
  await first
  await publish()
  {
    await using node = await startNode(itemsPipeline({ topic }), { url: fixture.url })
    await floorsReachEnd(fixture.url, fixture.feed.events)
    await node.stop()
  }
  const { tables } = await verify(0)
  expect(tables).toMatchObject([
    { task: 'item', compared: 80, isRight: true, notes: [expect.stringContaining('partition 0 at offset 40')] },
    { task: 'total', compared: 14, isRight: true, incomparable: 0, notes: [] },
  ])

  // 20 events of each partition are gone: only what the reset makes again can be compared whole.
  await fixture.feed.trim()
  expect((await verify(0)).tables[1]).toMatchObject({ task: 'total', isRight: true, incomparable: 14 })
  const reset = await command.run('reset', '--yes', '--to', 'earliest', '--truncate', 'items', '--truncate', 'totals')
  expect(reset.code, reset.stderr).toBe(0)
  {
    await using node = await startNode(itemsPipeline({ topic }), { url: fixture.url })
    await floorsReachEnd(fixture.url, fixture.feed.events)
    await node.stop()
  }
  expect((await verify(0)).tables).toMatchObject([
    { task: 'item', compared: 120, isRight: true, notes: [] },
    { task: 'total', compared: 14, isRight: true, incomparable: 0 },
  ])
  await ask(fixture.url, 'update totals set events = events + 1')
  expect((await verify(1)).tables[1]).toMatchObject({ isRight: false, different: 14 })
})
