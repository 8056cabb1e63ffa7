import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type CommandFolder, commandFolder } from '../support/forebay-command.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { ask, expectedOf, floorsReachEnd, itemsPipeline, itemValues, startNode } from '../support/live-node.ts'

// Each command is a process of its own, which starts slowly where the processor is taken.
vi.setConfig({ testTimeout: 240_000 })

const topic = 'replayed'
const columns = 'source_partition, source_offset, item_key, n, made_by'
const fixture = itemsDatabase(topic, { isShared: true })
let command: CommandFolder

interface TableFindings {
  readonly task: string
  readonly missing: number
  readonly extra: number
  readonly different: number
  readonly mended: number
  readonly isRight: boolean
  readonly compared: number
  readonly differences: readonly { kind: string; partition: number | null; offset: string | null; identity: Record<string, string> }[]
}
interface Verified {
  readonly tables: readonly TableFindings[]
}

beforeAll(async () => {
  command = commandFolder({ topic }, { url: fixture.url })
  await using node = await startNode(itemsPipeline({ topic }), { url: fixture.url })
  for (let n = 0; n < 20; n++) for (const partition of [0, 1]) await fixture.feed.publish(partition, itemValues(partition, 100))
  const bad = ['no json', '{"key":"p0 x","n":1,"mode":"bad key"}', '{"key":"p0 x","n":2,"mode":"bad convert"}', '{"key":"p0 x","n":-3}']
  await fixture.feed.publish(0, bad)
  await fixture.feed.publish(0, itemValues(0, 50))
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await node.stop()
})
afterAll(async () => {
  command[Symbol.dispose]()
})

const verify = async (code: number, ...args: string[]) =>
  (await command.json<Verified>(code, 'replay', '--from', 'earliest', '--verify', ...args)).tables
const itemsBetween = (partition: number, from: bigint, to: bigint) =>
  expectedOf(fixture.feed.events.filter((event) => event.partition === partition && event.offset >= from && event.offset < to)).items
const rowsOf = async (table: string) =>
  (await ask<Record<string, string>>(fixture.url, `select ${columns} from ${table}`)).map(
    (row) => `${row['source_partition']}/${row['source_offset']}/${row['item_key']}/${row['n']}`,
  )

/** Ends up to three connections of a command; resolves to their number. */
async function cutWhile(child: ChildProcess, which: string): Promise<number> {
  let cuts = 0
  while (child.exitCode === null && cuts < 3) {
    const ended = await fixture.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and ${which}`,
    )
    cuts += ended.length
    await sleep(ended.length > 0 ? 20 : 1)
  }
  return cuts
}

describe('forebay replay --verify', () => {
  it('finds tables right that are, dead letters and all', async () => {
    const tables = await verify(0)
    expect(tables).toMatchObject([
      { task: 'item', missing: 0, extra: 0, different: 0, isRight: true },
      { task: 'total', missing: 0, extra: 0, different: 0, isRight: true, compared: 15 },
    ])
    expect(tables[0]!.compared).toBeGreaterThanOrEqual(4050)
  })

  it('finds what was deleted, changed and added; mends what is missing and nothing else', async () => {
    await ask(fixture.url, `delete from items where source_partition = 0 and source_offset between 100 and 119`)
    await ask(fixture.url, `update items set n = n + 1 where source_partition = 1 and source_offset = 7`)
    await ask(fixture.url, `insert into items (${columns}) select ${columns} from items where source_partition = 1 and source_offset = 9`)
    await ask(fixture.url, `insert into items (${columns}) values (0, 2000, 'nobody', 1, '1')`)
    const [items] = await verify(1, '--task', 'item')
    expect(items).toMatchObject({ missing: 20, different: 1, extra: 2, mended: 0 })
    const found = (kind: string) =>
      items!.differences.filter((one) => one.kind === kind).map(({ partition, offset }) => `${partition}/${offset}`)
    expect(found('missing')).toEqual(Array.from({ length: 20 }, (_, i) => `0/${100 + i}`))
    expect(found('different')).toEqual(['1/7'])
    expect(found('extra').toSorted()).toEqual(['0/2000', '1/9'])

    const text = await command.run('replay', '--from', 'earliest', '--task', 'item', '--repair')
    expect(text.code).toBe(1)
    expect(text.stdout).toContain('20 missing, 2 extra, 1 different, 20 of the missing written')
    expect(text.stdout).toMatch(/different {2}partition 1, offset 7: n is \d+, should be \d+/)
    expect(text.stderr).toContain('FB_TABLE_DIFFERS')
    await ask(fixture.url, `update items set n = n - 1 where source_partition = 1 and source_offset = 7`)
    await ask(fixture.url, `delete from items where item_key = 'nobody'`)
    await ask(fixture.url, `delete from items where seq = (select max(seq) from items where source_partition = 1 and source_offset = 9)`)
    expect(await verify(0, '--task', 'item')).toMatchObject([{ isRight: true }])
    expect((await rowsOf('items')).toSorted()).toEqual(expectedOf(fixture.feed.events).items.toSorted())
  })

  it('mends within a range, a partition and a key only, and ends with 0 when all is mended', async () => {
    await ask(fixture.url, `delete from items where source_offset between 500 and 509`)
    const only = ['--from', '500', '--to', '505', '--partition', '1', '--task', 'item']
    expect(await command.json(0, 'replay', ...only, '--repair')).toMatchObject({ tables: [{ missing: 5, mended: 5, isRight: true }] })
    const key = JSON.parse(fixture.feed.events.find(({ partition, offset }) => partition === 0 && offset === 503n)!.value.toString()) as {
      key: string
    }
    const ofKey = ['--from', '500', '--to', '510', '--partition', '0', '--task', 'item', '--key', key.key]
    const { tables } = await command.json<Verified>(0, 'replay', ...ofKey, '--repair')
    expect(tables[0]!.mended).toBe(tables[0]!.missing)
    expect(tables[0]!.mended).toBeLessThan(3)
    const [left] = await verify(1, '--task', 'item')
    expect(left!.missing).toBe(15 - tables[0]!.mended)
    expect(await command.json(0, 'replay', '--from', 'earliest', '--task', 'item', '--repair')).toMatchObject({
      tables: [{ isRight: true }],
    })
    expect((await rowsOf('items')).toSorted()).toEqual(expectedOf(fixture.feed.events).items.toSorted())
  })

  it('lets one repair of a table work at a time', async () => {
    await ask(fixture.url, `delete from items where source_offset between 500 and 900`)
    const repairs = await Promise.all([0, 1].map(() => command.run('replay', '--from', 'earliest', '--task', 'item', '--repair')))
    for (const { code, stderr } of repairs) expect([0, 75], stderr).toContain(code)
    expect((await rowsOf('items')).toSorted()).toEqual(expectedOf(fixture.feed.events).items.toSorted())
  })

  it('goes on when its connection is cut under it', async () => {
    await ask(fixture.url, `delete from items where source_offset between 0 and 1500`)
    const repair = command.start('replay', '--from', 'earliest', '--task', 'item', '--repair')
    const cuts = await cutWhile(repair.child, `application_name = 'forebay repair' and query like '%forebay_expected%'`)
    const repaired = await repair.ended
    expect(repaired.code, repaired.stderr).toBe(0)
    expect((await rowsOf('items')).toSorted()).toEqual(expectedOf(fixture.feed.events).items.toSorted())
    const replay = command.start('replay', '--from', 'earliest', '--task', 'item', '--into', 'cut_items')
    const others = await cutWhile(replay.child, `application_name like 'forebay replay %' and query like '%replay_progress%'`)
    const replayed = await replay.ended
    expect(replayed.code, replayed.stderr).toBe(0)
    expect((await rowsOf('cut_items')).toSorted()).toEqual(expectedOf(fixture.feed.events).items.toSorted())
    // A fast machine is done before the third cut.
    expect(Math.min(cuts, others)).toBeGreaterThan(0)
  })

  it('compares merged rows by whole keys, and tells how to rebuild them instead of mending', async () => {
    await ask(
      fixture.url,
      `update totals set total = total + 1 where item_key = 'p0 item3'; delete from totals where item_key = 'p1 item2'`,
    )
    await ask(fixture.url, `insert into totals values ('nobody', 1, 1, 1)`)
    const [totals] = await verify(1, '--task', 'total')
    expect(totals).toMatchObject({ missing: 1, different: 1, extra: 1 })
    expect(totals!.differences.map(({ kind, identity }) => `${kind} ${identity['item_key']}`).toSorted()).toEqual([
      'different p0 item3',
      'extra nobody',
      'missing p1 item2',
    ])
    const partly = await command.json<Verified>(
      1,
      'replay',
      '--from',
      '10',
      '--to',
      '40',
      '--partition',
      '0',
      '--task',
      'total',
      '--verify',
    )
    expect(partly.tables[0]).toMatchObject({ missing: 0, different: 1, extra: 0, compared: 7 })
    const repair = await command.run('replay', '--from', 'earliest', '--task', 'total', '--repair')
    expect(repair.code).toBe(64)
    expect(repair.stderr).toContain('forebay reset --to earliest --truncate')
    await ask(fixture.url, `update totals set total = total - 1 where item_key = 'p0 item3'; delete from totals where item_key = 'nobody'`)
  })
})

describe('forebay replay --into', () => {
  it('writes a range of offsets into a new table like the live one', async () => {
    const result = await command.json(
      0,
      'replay',
      '--from',
      '1000',
      '--to',
      '1500',
      '--partition',
      '0',
      '--task',
      'item',
      '--into',
      'some_items',
    )
    expect(result).toMatchObject({ events: 500, rows: 500, into: 'some_items', state: 'done', deadLetters: 0 })
    expect((await rowsOf('some_items')).toSorted()).toEqual(itemsBetween(0, 1000n, 1500n).toSorted())
    const range = ['replay', '--from', '1000', '--to', '1500', '--partition', '0', '--task', 'item', '--into', 'some_items']
    expect(await command.json(0, ...range, '--verify')).toMatchObject({ tables: [{ isRight: true, compared: 500 }] })
    const again = await command.run(...range)
    expect(again.code).toBe(64)
    expect(again.stderr).toContain('it has rows')
  })

  it('leaves out what the live pipeline dead-lettered, and merges as it does', async () => {
    expect(await command.json(0, 'replay', '--from', 'earliest', '--task', 'item', '--into', 'all_items')).toMatchObject({
      refused: 1,
      deadLetters: 3,
    })
    expect((await rowsOf('all_items')).toSorted()).toEqual(expectedOf(fixture.feed.events).items.toSorted())
    await command.json(0, 'replay', '--from', 'earliest', '--task', 'total', '--into', 'all_totals')
    const totals = await ask<Record<string, string>>(fixture.url, 'select * from all_totals')
    const texts = totals.map((row) => `${row['item_key']}/${row['events']}/${row['total']}/${row['last_n']}`)
    expect(texts.toSorted()).toEqual(expectedOf(fixture.feed.events).totals.toSorted())
    const check = await command.json<Verified>(0, 'replay', '--from', 'earliest', '--task', 'total', '--into', 'all_totals', '--verify')
    expect(check.tables[0]).toMatchObject({ compared: totals.length, isRight: true })
  })

  it('refuses the live table, and a pipeline that never ran', async () => {
    const refusals: [string, string[]][] = [
      ['that is a live table', ['--task', 'item', '--into', 'items']],
      ['that is a live table', ['--task', 'item', '--into', 'totals']],
    ]
    for (const [sentence, args] of refusals) {
      const { code, stderr } = await command.run('replay', '--from', 'earliest', ...args)
      expect(code, stderr).toBe(64)
      expect(stderr).toContain(sentence)
    }
    using stranger = commandFolder({ topic, name: 'stranger' }, { url: fixture.url })
    const { code, stderr } = await stranger.run('replay', '--from', 'earliest', '--task', 'item', '--verify')
    expect(code).toBe(78)
    expect(stderr).toContain('it never started here')
  })

  it('counts without writing', async () => {
    const result = await command.json<Record<string, unknown>>(0, 'replay', '--from', 'earliest', '--dry-run')
    expect(result).toMatchObject({ events: fixture.feed.events.length, deadLetters: 3, jobs: { item: 4051, total: 4052 } })
    expect(result['bytes']).toBe(fixture.feed.events.reduce((sum, { value }) => sum + value.length, 0))
    expect(result['estimatedMs']).toBeGreaterThan(0)
    const left = await ask(fixture.url, `select from pg_class where relname like 'forebay_dry_run%'`)
    expect(left).toEqual([])
  })
})
