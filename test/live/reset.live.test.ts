import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { runCommand } from '../../src/cli/run-command.ts'
import { fingerprintOf } from '../../src/config/fingerprint-of.ts'
import { performReset } from '../../src/epochs/reset.ts'
import type { PartitionReset } from '../../src/epochs/reset-plan.ts'
import { CommandRun, ConfigFolder, killCommands } from '../support/commands.ts'
import { itemsDatabase } from '../support/items-database.ts'
import {
  type LiveNode,
  ask,
  differenceOf,
  expectedOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  nodeSettings,
  noDifference,
  startNode,
} from '../support/live-node.ts'
import { testPool } from '../support/postgres-database.ts'

const fixture = itemsDatabase('items')
let folder: ConfigFolder
let file: string

beforeEach(async () => {
  folder = new ConfigFolder()
  file = folder.write('n1', { url: fixture.url, grid: { mode: 'local' } })
})
afterEach(async () => {
  await killCommands()
  folder.remove()
})

const pipeline = itemsPipeline({ topic: 'items' })
const start = () => startNode(pipeline, { url: fixture.url, name: 'n1' })
const truncateAll = ['--truncate', 'items', '--truncate', 'totals']

async function publish(count: number): Promise<void> {
  await fixture.feed.publish(0, [...itemValues(0, count), '{"key":7}'])
  await fixture.feed.publish(1, itemValues(1, count))
}

async function runTo(end: () => Promise<void> = () => floorsReachEnd(fixture.url, fixture.feed.events)): Promise<void> {
  const node = await start()
  await end()
  await node.stop()
}

/** Runs the command in this process. */
async function reset(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const run = { code: -1, stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => ((run[name] += String(text)), true)),
  )
  try {
    run.code = await runCommand(['reset', '-c', file, ...words])
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return run
}

const rowsOf = async () =>
  (
    await ask<{ row: string }>(
      fixture.url,
      `select concat_ws('/', source_partition, source_offset, item_key, n) as row from items union all
       select concat_ws('/', item_key, events, total, last_n) from totals order by 1`,
    )
  ).map(({ row }) => row)
const lettersOf = () => ask(fixture.url, 'select partition, "offset", task from forebay.dead_letters order by 1, 2')
const committedOf = async () =>
  (await ask<{ floor: string }>(fixture.url, 'select floor from forebay.log_floors order by partition')).map(({ floor }) => floor)
const epochOf = async () =>
  (await ask<{ epoch: number; reset: number }>(fixture.url, 'select epoch, reset from forebay.epochs order by epoch desc limit 1'))[0]
const ledgerOf = () =>
  ask(
    fixture.url,
    `select 'floor' as task, partition, -1 as queue, floor as applied from forebay.floors union all select task, partition, queue, applied from forebay.watermarks order by 1, 2, 3`,
  )

it('makes the same tables again from the beginning, killed in the middle and run again', async () => {
  await publish(120)
  await runTo()
  const [rows, letters, ledger] = [await rowsOf(), await lettersOf(), await ledgerOf()]
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect(letters).toHaveLength(1)

  // It stands in the middle of its transaction: the second table it empties is locked.
  const lock = new pg.Client({ connectionString: fixture.url })
  await lock.connect()
  await lock.query('begin; lock table totals in access exclusive mode')
  const killed = new CommandRun(['reset', '-c', file, '--to', 'earliest', ...truncateAll, '--yes'])
  const isInside = () =>
    ask(
      fixture.url,
      `select from pg_stat_activity where query like 'truncate%' and wait_event_type = 'Lock' and datname = current_database()`,
    )
  await expect.poll(isInside, { timeout: 30_000 }).toHaveLength(1)
  await killed.kill()
  await lock.end()
  await expect.poll(isInside, { timeout: 5_000 }).toHaveLength(0)
  expect(await epochOf()).toEqual({ epoch: 1, reset: 0 })
  expect([await rowsOf(), await lettersOf(), await ledgerOf()]).toEqual([rows, letters, ledger])

  const again = await reset('--to', 'earliest', ...truncateAll, '--yes', '--json')
  expect(again.code, again.stderr).toBe(0)
  expect(JSON.parse(again.stdout)).toMatchObject({
    isDone: true,
    truncated: ['"items"', '"totals"'],
    partitions: [{ cut: '-1' }, { cut: '-1' }],
  })
  expect([await rowsOf(), await lettersOf(), await committedOf()]).toEqual([[], [], ['-1', '-1']])
  const twice = await reset('--to', 'earliest', ...truncateAll, '--yes')
  expect(twice.code, twice.stderr).toBe(0)
  expect(twice.stdout).toMatch(/done: epoch \d, reset \d/)
  await runTo()
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect([await rowsOf(), await lettersOf()]).toEqual([rows, letters])
})

it('makes rows twice from a time on, exactly those, when that is allowed', async () => {
  await publish(40)
  await sleep(20)
  const at = new Date().toISOString()
  await sleep(20)
  const before = fixture.feed.events.length
  await publish(30)
  await runTo()
  const once = expectedOf(fixture.feed.events).items
  const later = expectedOf(fixture.feed.events.slice(before)).items
  expect(later).toHaveLength(60)
  const refused = await reset('--to', at, '--allow-duplicates', '--yes')
  expect(refused.code).toBe(64)
  expect(refused.stderr).toMatch(/Task total adds up in table totals/)
  const done = await reset('--to', at, '--allow-duplicates', '--truncate', 'totals', '--yes', '--json')
  expect(done.code, done.stderr).toBe(0)
  expect(JSON.parse(done.stdout)).toMatchObject({
    partitions: [{ cut: '40' }, { cut: '39' }],
    warnings: [/totals will hold nothing of/, /items will hold/].map((text) => expect.stringMatching(text)),
  })
  await runTo()
  const found = (
    await ask<{ place: string }>(fixture.url, `select concat_ws('/', source_partition, source_offset, item_key, n) as place from items`)
  ).map(({ place }) => place)
  expect(found.toSorted()).toEqual([...once, ...later].toSorted())
  const totals = (await ask<{ row: string }>(fixture.url, `select concat_ws('/', item_key, events, total, last_n) as row from totals`)).map(
    ({ row }) => row,
  )
  expect(totals.toSorted()).toEqual(expectedOf(fixture.feed.events.slice(before)).totals.toSorted())
  expect(await lettersOf()).toHaveLength(2)
})

it('takes back one partition only', async () => {
  await publish(20)
  await runTo()
  const words = ['--to', '15', '--partition', '1', '--allow-duplicates', '--yes']
  const refused = await reset(...words)
  expect(refused.code).toBe(64)
  expect(refused.stderr).toContain('Task total adds up')
  const whole = await reset('--to', '15', '--partition', '1', '--truncate', 'totals', '--allow-duplicates', '--yes')
  expect(whole.stderr).toContain('leave --partition out')
  await performed([{ partition: 1, floor: 19n, target: 14n, cut: 14n, change: 'back' }])
  expect((await ledgerOf()).filter(({ partition }) => partition === 1).map(({ applied }) => applied)).toEqual([
    '14',
    '14',
    '14',
    '14',
    '14',
  ])
  expect((await ledgerOf()).find(({ task, partition }) => task === 'floor' && partition === 0)).toMatchObject({ applied: '20' })
  await runTo()
  expect(await committedOf()).toEqual(['20', '19'])
  const rows = await ask<{ count: string }>(
    fixture.url,
    'select count(*) from items where source_partition = 1 group by source_offset order by source_offset',
  )
  expect(rows.map(({ count }) => count)).toEqual([...Array.from({ length: 15 }, () => '1'), ...Array.from({ length: 5 }, () => '2')])
})

async function performed(partitions: readonly PartitionReset[], truncations: readonly string[] = []) {
  await using pool = testPool(fixture.url)
  const [stored] = await ask<{ cluster: string; topic_id: string | null }>(fixture.url, 'select cluster, topic_id from forebay.pipelines')
  const fingerprint = fingerprintOf(nodeSettings({ url: fixture.url }), pipeline)
  const identity = { cluster: stored!.cluster, topicId: stored!.topic_id, partitions: 2 }
  return await pool.use('resetting', (client) =>
    performReset(client, { pipeline: 'items', topic: 'items', identity, fingerprint, fileHash: null, partitions, truncations }),
  )
}

it('refuses while nodes run, drains them when told to, and they go on from the point by themselves', async () => {
  await publish(60)
  let node: LiveNode | undefined = await start()
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const refused = await reset('--to', 'earliest', ...truncateAll, '--yes')
  expect(refused.code).toBe(64)
  expect(refused.stderr).toMatch(/runs on n1\.\w+: stop it first, or say --drain/)
  expect(await epochOf()).toMatchObject({ reset: 0 })
  let isPublishing = true
  const publishing = (async () => {
    while (isPublishing) {
      await publish(10)
      await sleep(20)
    }
  })()
  const done = await reset('--to', 'earliest', ...truncateAll, '--drain', '--yes')
  expect(done.code, done.stderr).toBe(0)
  isPublishing = false
  await publishing
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect((await node.status()).epoch).toBe(2)
  expect(await lettersOf()).toHaveLength(expectedOf(fixture.feed.events).deadLetters.length)
  await node.stop()
  node = undefined
})

it('goes back to the point where a partition has passed it since the plan, so that an emptied table lacks nothing above it', async () => {
  await publish(20)
  await runTo()
  const asked = { partition: 0, floor: 20n, target: -1n, cut: -1n, change: 'back' as const }
  const before = (target: bigint) => [asked, { partition: 1, floor: 5n, target, cut: 5n, change: 'kept' as const }]
  await expect(performed(before(12n).slice(1))).rejects.toMatchObject({ code: 'FB_FENCED' })
  const partitionsOf = async (...of: Parameters<typeof performed>) => (await performed(...of)).partitions.slice(1)
  expect(await partitionsOf(before(12n))).toEqual([{ partition: 1, floor: 19n, target: 12n, cut: 12n, change: 'back' }])
  expect(await partitionsOf(before(40n))).toEqual([{ partition: 1, floor: 12n, target: 40n, cut: 12n, change: 'kept' }])
  await ask(fixture.url, 'update forebay.watermarks set applied = 15 where partition = 1 and task = $1', ['item'])
  expect(await partitionsOf(before(40n), ['items'])).toEqual([{ partition: 1, floor: 12n, target: 40n, cut: 12n, change: 'back' }])
  expect((await ledgerOf()).filter(({ partition, applied }) => partition === 1 && applied !== '12')).toEqual([])
})

it('makes rows above a point gone ahead to again when their table is emptied', async () => {
  await publish(20)
  await runTo()
  await ask(fixture.url, 'update forebay.floors set floor = 5')
  const ahead = [0, 1].map((partition) => ({ partition, floor: 5n, target: 9n, cut: 9n, change: 'ahead' as const }))
  await expect(performed(ahead, ['items', 'totals'])).rejects.toMatchObject({ code: 'FB_FENCED' })
  const asked = ahead.map((partition) => ({ ...partition, isAboveMadeAgain: true }))
  expect((await performed(asked, ['items', 'totals'])).partitions).toEqual(asked)
  expect((await ledgerOf()).filter(({ applied }) => applied !== '9')).toEqual([])
  await runTo()
  const above = fixture.feed.events.filter(({ offset }) => offset > 9n)
  expect(await differenceOf(fixture.url, above)).toEqual(noDifference)
})

it('refuses at once to drain nodes of another version, which all would end, and to reset with another routing', async () => {
  await publish(20)
  await using node = await startNode(itemsPipeline({ topic: 'items', version: '2' }), { url: fixture.url, name: 'n2' })
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const words = ['--to', 'earliest', ...truncateAll, '--drain', '--yes']
  const version = await reset(...words)
  expect([version.code, version.stderr]).toEqual([64, expect.stringMatching(/version 2 with tasks item, total on n2.*has version 1/)])
  file = folder.write('n1', { url: fixture.url, grid: { mode: 'local', queues: 5 } })
  const routing = await reset(...words, '--timeout', '1s')
  expect([routing.code, routing.stderr]).toEqual([75, expect.stringMatching(/has queues 2, the configuration has 5.*routing apply/)])
  expect(await epochOf()).toEqual({ epoch: 1, reset: 0 })
  await node.stop()
})

it('refuses to go back on a topic whose events at the floors are others', async () => {
  await publish(20)
  await runTo()
  await ask(fixture.url, `update forebay.floor_events set checksum = 'another'`)
  const ledger = await ledgerOf()
  const refused = await reset('--to', 'earliest', ...truncateAll, '--yes')
  expect([refused.code, refused.stderr]).toEqual([78, expect.stringMatching(/checksum another/)])
  expect(await ledgerOf()).toEqual(ledger)
})

it('shows what it would do, asks before it does it, and refuses what cannot be', async () => {
  const early = await reset('--to', 'earliest', ...truncateAll, '--yes')
  expect(early.code).toBe(78)
  expect(early.stderr).toMatch(/no ledger of pipeline "items": it never started here/)
  await publish(10)
  await runTo()
  const ledger = await ledgerOf()
  const dry = await reset('--to', 'earliest', ...truncateAll, '--dry-run', '--json')
  expect(dry.code, dry.stderr).toBe(0)
  expect(JSON.parse(dry.stdout)).toMatchObject({
    isDryRun: true,
    isDone: false,
    epoch: null,
    partitions: [{ floor: '10', cut: '-1', change: 'back' }, { floor: '9' }],
  })
  const unasked = await reset('--to', 'earliest', ...truncateAll)
  expect(unasked.code).toBe(64)
  expect(unasked.stderr).toMatch(/floor 10 goes back to -1.*say --yes/s)
  for (const [words, sentence] of [
    [['--to', 'yesterday'], /--to takes earliest/],
    [['--to', '50', '--partition', '0', '--allow-duplicates'], /would skip events/],
    [['--to', '5'], /say which with --partition/],
    [['--to', 'earliest', '--truncate', 'pg_class'], /No task of the pipeline writes table pg_class/],
  ] as const) {
    const run = await reset(...words, '--yes')
    expect([run.code, run.stderr], words.join(' ')).toEqual([64, expect.stringMatching(sentence)])
  }
  expect(await ledgerOf()).toEqual(ledger)
  await expect(performed([{ partition: 0, floor: 30n, target: 20n, cut: 20n, change: 'back' }])).rejects.toMatchObject({
    code: 'FB_FENCED',
    message: expect.stringContaining('moved from 30 to 10'),
  })
  expect(await ledgerOf()).toEqual(ledger)
})
