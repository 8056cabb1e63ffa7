import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { ConfigChoice } from '../support/commands.ts'
import { CommandRun, ConfigFolder, killCommands, startNodeProcess } from '../support/commands.ts'
import { type TestGrid, sharedGrid } from '../support/grid-cluster.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { ask, differenceOf, floorsReachEnd, itemValues, noDifference } from '../support/live-node.ts'

const partitions = 3
let cluster: TestGrid
const fixture = itemsDatabase('items', { partitions })
let folder: ConfigFolder
let load: { stop(): Promise<void> } | undefined

beforeAll(async () => {
  cluster = await sharedGrid()
})
beforeEach(async () => {
  folder = new ConfigFolder()
})
afterEach(async () => {
  await Promise.all([killCommands(), load?.stop().catch(() => undefined)])
  folder.remove()
})

function config(name: string, queues: number, more: Pick<ConfigChoice, 'tasksOnly' | 'version'> = {}): string {
  const grid = { mode: 'client', clusterName: cluster.clusterName, members: [...cluster.addresses], queues, backups: 0 }
  return folder.write(name, { url: fixture.url, grid, ...more })
}

/** Publishes to every partition until stopped. */
function publishUntilStopped(): { stop(): Promise<void> } {
  let isStopped = false
  const publishing = (async () => {
    while (!isStopped) {
      for (let partition = 0; partition < partitions; partition++) await fixture.feed.publish(partition, itemValues(partition, 15))
      await sleep(15)
    }
  })()
  return { stop: () => ((isStopped = true), publishing) }
}

/** Keeps the table from being written, so that nothing drains; in mode `share` a node may still look at it. */
async function lockTable(mode = 'access exclusive'): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client({ connectionString: fixture.url })
  client.on('error', () => undefined)
  await client.connect()
  await client.query(`begin; lock table items in ${mode} mode`)
  return { release: () => client.end() }
}

const floorsOf = async () =>
  (await ask<{ floor: string }>(fixture.url, 'select floor from forebay.floors order by 1')).map(({ floor }) => floor)
const requestOf = () => ask<{ purpose: string }>(fixture.url, 'select purpose from forebay.cuts')
const epochOf = async () => (await ask<{ epoch: number }>(fixture.url, 'select max(epoch) as epoch from forebay.epochs'))[0]?.epoch

it('goes from 2 to 5 queues under load while a node is killed in the middle: nothing is lost, nothing comes twice', async () => {
  const [doomed, old] = await Promise.all([startNodeProcess(config('n1', 2)), startNodeProcess(config('n2', 2))])
  load = publishUntilStopped()
  await expect.poll(() => ask(fixture.url, 'select from items limit 1'), { timeout: 15_000 }).toHaveLength(1)
  const refused = new CommandRun(['routing', 'apply', '-c', config('n3', 5)])
  expect(await refused.exited).toBe(64)
  expect(refused.stderr).toContain('No node waits with queues 5')
  const young = await startNodeProcess(config('n3', 5))
  expect((await young.status()).reasons.join()).toMatch(/has queues 2, this node has queues 5: it owns nothing and waits/)

  const lock = await lockTable()
  const apply = new CommandRun(['routing', 'apply', '-c', config('n3', 5), '--json'])
  await expect.poll(requestOf, { timeout: 15_000 }).toEqual([{ purpose: 'queues 5 instead of 2' }])
  await sleep(300)
  await doomed.kill()
  await lock.release()
  expect(await apply.exited, apply.stderr).toBe(0)
  expect(JSON.parse(apply.stdout)).toMatchObject({ epoch: 2, isApplied: true, nodes: [expect.stringMatching(/^n3\./)] })

  await sleep(500)
  await load.stop()
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect(await requestOf()).toEqual([])
  const { epoch, queues } = await young.status()
  expect({ epoch, queues: queues.length }).toEqual({ epoch: 2, queues: 5 * partitions })
  await expect.poll(async () => (await old.status()).reasons.join(), { timeout: 5_000 }).toMatch(/has queues 5, this node has queues 2/)
  expect((await old.status()).partitions).toEqual([])
  const rows = await ask<{ cut: Record<string, string>; opened: string }>(
    fixture.url,
    'select cut, opened_at as opened from forebay.epochs where epoch = 2',
  )
  expect(Object.keys(rows[0]!.cut)).toHaveLength(partitions)
  expect(await old.kill('SIGTERM')).toBe(0)
  expect(await young.kill('SIGTERM')).toBe(0)
  expect(await ask(fixture.url, 'select node from forebay.nodes where node not like $1', ['n1%'])).toEqual([])
}, 180_000)

it('lets the nodes read on when the command is killed, when it is interrupted, and when the time is up, and applies afterwards', async () => {
  const old = await startNodeProcess(config('n1', 2))
  const young = await startNodeProcess(config('n2', 5))
  const file = config('n2', 5)
  const goesOn = async () => {
    const before = await floorsOf()
    await expect
      .poll(async () => (await floorsOf()).every((floor, n) => BigInt(floor) > BigInt(before[n]!)), { timeout: 20_000 })
      .toBe(true)
  }
  load = publishUntilStopped()
  await goesOn()

  let lock = await lockTable()
  const killed = new CommandRun(['routing', 'apply', '-c', file])
  await killed.says(/it waits until .* drained/)
  const second = new CommandRun(['routing', 'apply', '-c', file])
  expect(await second.exited).toBe(75)
  expect(second.stderr).toMatch(/Another request to drain .* is in force since .* `forebay routing cancel`/)
  await killed.kill()
  await lock.release()
  const isVoid = async () => (await ask(fixture.url, `select from forebay.cuts where renewed_at > now() - interval '10 s'`)).length === 0
  await expect.poll(isVoid, { timeout: 15_000 }).toBe(true)
  await goesOn()
  expect(await epochOf()).toBe(1)

  lock = await lockTable()
  const interrupted = new CommandRun(['routing', 'apply', '-c', file])
  await interrupted.says(/it waits until .* drained/)
  expect(await interrupted.kill('SIGINT')).toBe(75)
  expect(interrupted.stderr).toContain('Withdrawn')
  expect(await requestOf()).toEqual([])
  const late = new CommandRun(['routing', 'apply', '-c', file, '--timeout', '1s'])
  expect(await late.exited).toBe(75)
  expect(late.stderr).toMatch(/did not drain within 1 s; nothing was changed.*partition \d: task/)
  await lock.release()
  await goesOn()

  const plan = new CommandRun(['routing', 'plan', '-c', file, '--json'])
  expect(await plan.exited, plan.stderr).toBe(0)
  expect(JSON.parse(plan.stdout)).toMatchObject({
    epoch: 1,
    changes: [{ field: 'queues', active: 2, configured: 5 }],
    nodes: [{ state: 'runs' }, { state: 'waits with this configuration' }],
    request: null,
  })
  const applied = new CommandRun(['routing', 'apply', '-c', file])
  expect(await applied.exited, applied.stderr).toBe(0)
  expect(applied.stdout).toMatch(/epoch 2 opens with queues 5 instead of 2\nit is run by n2\./)
  await load.stop()
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  await Promise.all([old.kill('SIGTERM'), young.kill('SIGTERM')])
}, 240_000)

const versionsOf = async () =>
  (await ask<{ version: string }>(fixture.url, 'select version from forebay.epochs order by epoch')).map(({ version }) => version)

it('rolls back from version 2 to 1 under load while a node is killed in the middle: nothing is lost, nothing comes twice', async () => {
  const old = await startNodeProcess(config('a1', 2))
  load = publishUntilStopped()
  await expect.poll(() => ask(fixture.url, 'select from items limit 1'), { timeout: 15_000 }).toHaveLength(1)
  const next = { version: '2' } as const
  const doomed = await startNodeProcess(config('b1', 2, next))
  expect(await old.exited).toBe(75)
  const other = await startNodeProcess(config('b2', 2, next))
  const refused = new CommandRun(['start', '-c', config('a2', 2)])
  expect(await refused.exited).toBe(78)
  expect(refused.stderr).toContain('`forebay versions accept 1`')

  const accept = new CommandRun(['versions', 'accept', '1', '-c', config('a2', 2)])
  expect(await accept.exited, accept.stderr).toBe(0)
  expect(accept.stdout).toMatch(/version 1 may open the epoch after 2, once/)
  const lock = await lockTable('share')
  const starting = startNodeProcess(config('a2', 2))
  await expect.poll(requestOf, { timeout: 50_000 }).toEqual([{ purpose: 'version 1 after version 2' }])
  await doomed.kill()
  await lock.release()
  const back = await starting
  expect((await back.status()).epoch).toBe(3)
  expect(await other.exited).toBe(75)
  const late = new CommandRun(['start', '-c', config('b2', 2, next)])
  expect(await late.exited).toBe(78)
  expect(late.stderr).toContain('`forebay versions accept 2`')

  await sleep(500)
  await load.stop()
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  const listed = new CommandRun(['versions', 'list', '-c', config('a2', 2), '--json'])
  expect(await listed.exited, listed.stderr).toBe(0)
  const { epochs, accepted } = JSON.parse(listed.stdout) as { epochs: Record<string, unknown>[]; accepted: unknown[] }
  expect(epochs.map(({ epoch, version, isActive }) => ({ epoch, version, isActive }))).toEqual([
    { epoch: 3, version: '1', isActive: true },
    { epoch: 2, version: '2', isActive: false },
    { epoch: 1, version: '1', isActive: false },
  ])
  expect(epochs[0]).toMatchObject({ tasks: ['item', 'total'], ephemeral: ['latest'], openedAt: expect.stringMatching(/^20/) })
  expect(accepted).toEqual([])
  expect(await versionsOf()).toEqual(['1', '2', '1'])
  expect(await back.kill('SIGTERM')).toBe(0)
}, 300_000)

it('leaves a task out in words only, under load, and brings it back with every event it missed', async () => {
  const whole = await startNodeProcess(config('n1', 2))
  load = publishUntilStopped()
  await expect.poll(() => ask(fixture.url, 'select from totals limit 1'), { timeout: 15_000 }).toHaveLength(1)
  const part = await startNodeProcess(config('n2', 2, { tasksOnly: ['item', 'latest'] }))
  const reasonsOf = async (node: typeof whole) => (await node.status()).reasons.join()
  expect(await reasonsOf(part)).toMatch(/Epoch 1 .* this node lacks task total\..*`forebay tasks drop total`/)
  await sleep(1500)
  expect([await epochOf(), (await whole.status()).epoch]).toEqual([1, 1])

  const drop = new CommandRun(['tasks', 'drop', 'total', '-c', config('n1', 2)])
  expect(await drop.exited, drop.stderr).toBe(0)
  await expect.poll(async () => (await part.status()).epoch, { timeout: 20_000 }).toBe(2)
  await expect.poll(() => reasonsOf(whole), { timeout: 10_000 }).toMatch(/this node has task total besides\. Its own epoch was closed/)
  const sums = () => ask<{ events: string }>(fixture.url, 'select coalesce(sum(events), 0) as events from totals')
  const before = await sums()
  await sleep(1500)
  expect(await sums()).toEqual(before)
  const list = new CommandRun(['tasks', 'list', '-c', config('n1', 2), '--json'])
  expect(await list.exited, list.stderr).toBe(0)
  const { tasks } = JSON.parse(list.stdout) as { tasks: { task: string; isActive: boolean; behind: unknown[] }[] }
  expect(tasks.map(({ task, isActive, behind }) => [task, isActive, behind.length])).toEqual([
    ['item', true, 0],
    ['latest', true, 0],
    ['total', false, partitions],
  ])

  await part.kill()
  const again = await startNodeProcess(config('n3', 2))
  await expect.poll(async () => (await again.status()).epoch, { timeout: 20_000 }).toBe(3)
  await expect.poll(async () => (await whole.status()).epoch, { timeout: 10_000 }).toBe(3)
  await load.stop()
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect(await again.kill('SIGTERM')).toBe(0)
  expect(await whole.kill('SIGTERM')).toBe(0)
}, 300_000)
