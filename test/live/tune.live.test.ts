import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CommandFolder, commandFolder } from '../support/forebay-command.ts'
import { eventually } from '../support/grid-cluster.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { floorsReachEnd, itemValues, itemsPipeline, startNode } from '../support/live-node.ts'
import { ThrottledProxy } from '../support/throttled-proxy.ts'

const topic = 'tuned'
const throttledBytesPerSecond = 100_000
const publishEveryMs = 20
const fixture = itemsDatabase(topic, { isShared: true })
let free: CommandFolder
let isOver = false
let publishing: Promise<void>

interface Tuned {
  readonly tasks: readonly {
    readonly task: string
    readonly every: string
    readonly rowsPerSecondMax: number
    readonly headroom: number
    readonly predicted: { readonly p50Ms: number; readonly p99Ms: number }
    readonly measured: { readonly p50Ms: number; readonly p99Ms: number } | null
  }[]
  readonly headroom: number
  readonly grid: { readonly queues: number; readonly worstCase: { readonly bufferBytes: number } }
  readonly measurements: { readonly events: { readonly perSecond: number; readonly isLive: boolean } }
  readonly trial: { readonly eventsPerSecond: number } | null
}

beforeAll(async () => {
  free = commandFolder({ topic }, { url: fixture.url })
  await using node = await startNode(itemsPipeline({ topic }), { url: fixture.url })
  for (const partition of [0, 1]) await fixture.feed.publish(partition, [...itemValues(partition, 500), 'no json'])
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await node.stop()
  publishing = publish()
})
afterAll(async () => {
  isOver = true
  await publishing
  free[Symbol.dispose]()
})

/** About 100 events a second in each partition. */
async function publish(): Promise<void> {
  while (!isOver) {
    const startedMs = performance.now()
    for (const partition of [0, 1]) await fixture.feed.publish(partition, itemValues(partition, 2))
    await sleep(Math.max(0, startedMs + publishEveryMs - performance.now()))
  }
}

const scratchSchemas = () =>
  fixture.query<{ name: string }>("select nspname as name from pg_namespace where starts_with(nspname, 'forebay_tune_')")
const untouched = async () => {
  const found: unknown[] = []
  for (const table of ['pipelines', 'epochs', 'floors', 'watermarks', 'dead_letters', 'log_floors'])
    found.push(await fixture.query(`select xmin, t.* from forebay.${table} t order by t::text`))
  found.push(await fixture.query('select (select count(*) from items) as items, (select sum(events) from totals) as totals'))
  return found
}
const msOf = (text: string) => Number.parseFloat(text) * (text.endsWith('ms') ? 1 : 1000)
const taskOf = ({ tasks }: Tuned, name: string) => tasks.find(({ task }) => task === name)!

describe('forebay tune', () => {
  let fast: Tuned

  it(
    'advises, and a trial of the advice takes about as long as predicted; the pipeline itself is not touched',
    { timeout: 90_000 },
    async () => {
      const before = await untouched()
      fast = await free.json<Tuned>(0, 'tune', '--quick', '--validate', '--for', '8s')
      expect(await untouched()).toEqual(before)
      expect(await scratchSchemas()).toEqual([])
      expect(fast.measurements.events.isLive).toBe(true)
      expect(fast.trial!.eventsPerSecond).toBeGreaterThan(50)
      expect(fast.grid.worstCase.bufferBytes).toBeGreaterThan(0)
      for (const { task, predicted, measured } of fast.tasks) {
        // A busy machine doubles what an idle one takes; ten milliseconds are its timers.
        expect(measured!.p50Ms, `${task} p50, predicted ${predicted.p50Ms}`).toBeGreaterThan(predicted.p50Ms / 2 - 10)
        expect(measured!.p50Ms, `${task} p50, predicted ${predicted.p50Ms}`).toBeLessThan(predicted.p50Ms * 2 + 10)
        expect(measured!.p99Ms, `${task} p99, predicted ${predicted.p99Ms}`).toBeLessThan(predicted.p99Ms * 4 + 20)
      }
    },
  )

  it('gives a throttled database longer intervals, and promises less', { timeout: 90_000 }, async () => {
    await using proxy = await ThrottledProxy.start(Number(new URL(fixture.url).port))
    proxy.limit(throttledBytesPerSecond)
    const url = new URL(fixture.url)
    ;[url.hostname, url.port] = ['127.0.0.1', String(proxy.port)]
    using throttled = commandFolder({ topic }, { url: url.href })
    const slow = await throttled.json<Tuned>(0, 'tune', '--quick')
    const [before, after] = [taskOf(fast, 'item'), taskOf(slow, 'item')]
    expect(msOf(after.every)).toBeGreaterThan(msOf(before.every))
    expect(after.headroom).toBeLessThan(before.headroom / 2)
    expect(slow.headroom).toBeLessThan(fast.headroom / 2)
    expect(after.predicted.p50Ms).toBeGreaterThan(before.predicted.p50Ms)
    // A row has about 40 bytes on its way.
    expect(after.rowsPerSecondMax).toBeLessThan(throttledBytesPerSecond / 15)
    expect(await scratchSchemas()).toEqual([])
  })

  it('removes what it made when it is interrupted', { timeout: 60_000 }, async () => {
    const { child, ended } = free.start('tune')
    await eventually('a scratch schema', async () => (await scratchSchemas()).length > 0, 30_000)
    await sleep(1000)
    child.kill('SIGINT')
    const { code, stderr } = await ended
    expect([code, stderr]).toEqual([75, expect.stringContaining('what it made is removed')])
    expect(await scratchSchemas()).toEqual([])
  })

  it('says in one sentence which server is away', { timeout: 60_000 }, async () => {
    using away = commandFolder({ topic }, { url: 'postgres://nobody@127.0.0.1:1/none' })
    const { code, stdout, stderr } = await away.run('tune', '--quick')
    expect([code, stdout]).toEqual([69, ''])
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain('127.0.0.1:1')
  })
})
