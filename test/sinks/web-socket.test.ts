import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { JobLines } from '../../src/grid/segment.ts'
import type { JobGrid } from '../../src/grid/job-grid.ts'
import { fanoutRingName, latestMapName } from '../../src/grid/queue-name.ts'
import { HttpServer } from '../../src/http/http-server.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import { encodeFanout, encodeLatest } from '../../src/sinks/web-socket/latest-wire.ts'
import { createWebSocket, type WebSocketOptions, type WebSocketSink } from '../../src/sinks/web-socket/web-socket.ts'
import { nodeStatus } from '../node/node-status.ts'

const clock = new SystemClock()
const secret = 'a secret of the test'
const mapSeal = { secret, place: latestMapName('s', 'prices') }
const observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }

/** Just enough of a grid for two sinks in one process; `lose` empties it. */
class MemoryGrid implements JobGrid {
  ring: Buffer[] = []
  map = new Map<string, string>()
  #listeners = new Set<() => void>()

  append(_ring: string, entry: Buffer) {
    return Promise.resolve(BigInt(this.ring.push(entry) - 1))
  }
  async read(_ring: string, from: bigint, { waitMs }: { countMax: number; waitMs: number }) {
    if (from >= BigInt(this.ring.length)) await clock.sleep(Math.min(waitMs, 5))
    const start = Math.min(Number(from), this.ring.length)
    const entries = this.ring.slice(start)
    return { entries, nextSequence: entries.length === 0 ? from : BigInt(start + entries.length) }
  }
  peek(ring: string, from: bigint) {
    return this.read(ring, from, { countMax: 1000, waitMs: 0 })
  }
  tail() {
    return Promise.resolve({ sequence: BigInt(this.ring.length - 1), entry: this.ring.at(-1) })
  }
  capacity() {
    return Promise.resolve(1000)
  }
  put(_map: string, key: string, value: string) {
    this.map.set(key, value)
    return Promise.resolve()
  }
  remove(_map: string, key: string) {
    this.map.delete(key)
    return Promise.resolve()
  }
  entries() {
    return Promise.resolve(new Map(this.map))
  }
  destroy() {
    return Promise.resolve()
  }
  onDisturbance(listener: () => void) {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
  lose() {
    this.ring = []
    this.map.clear()
    for (const listener of this.#listeners) listener()
  }
  [Symbol.asyncDispose]() {
    return Promise.resolve()
  }
}

interface Price {
  symbol: string
  price: number | string
}
interface Frame {
  type: string
  channel: string
  values: { key: string; value: Price; partition: number; offset: string }[]
}

const closing: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function node(grid: JobGrid, options: Partial<WebSocketOptions> = {}): Promise<{ sink: WebSocketSink; url: string }> {
  const definition = { channel: 'prices', latestBy: (price: unknown) => (price as Price).symbol }
  const sink = createWebSocket({ definition, grid, clock, observer, scope: 's', secret, nodeId: 'n', ...options })
  const stop = new AbortController()
  const following = sink.follow(stop.signal)
  const metrics = { contentType: 'text/plain', text: () => Promise.resolve('') }
  const server = await HttpServer.listen({
    port: 0,
    status: nodeStatus,
    fatalReason: () => undefined,
    metrics,
    channels: () => new Map([['prices', sink]]),
    observer,
  })
  closing.push(async () => {
    stop.abort()
    await following
    await server[Symbol.asyncDispose]()
  })
  return { sink, url: `${server.url.replace('http', 'ws')}/ws/prices` }
}

async function client(url: string): Promise<{ socket: WebSocket; frames: Frame[]; latest: Map<string, Frame['values'][number]> }> {
  const socket = new WebSocket(url)
  const frames: Frame[] = []
  const latest = new Map<string, Frame['values'][number]>()
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data)) as Frame
    frames.push(frame)
    for (const value of frame.values) latest.set(value.key, value)
  })
  closing.push(() => socket.terminate())
  await expect.poll(() => frames.length).toBeGreaterThan(0)
  return { socket, frames, latest }
}

/** One section whose i-th line has offset `base + i`. */
function jobs(sink: WebSocketSink, base: number, prices: readonly Price[], partition = 0): JobLines {
  const bytes = Buffer.from(prices.map((price) => `${sink.encode(price)}\n`).join(''))
  const deltas = Uint32Array.from(prices, (_price, index) => index)
  return new JobLines(
    { task: 'pushPrice', kind: 'job', partition, queue: 0 },
    bytes,
    { offset: BigInt(base), timeMs: 1000 },
    deltas,
    deltas,
  )
}

describe('the WebSocket sink', () => {
  it('sends a snapshot first and then only what changed', async () => {
    const { sink, url } = await node(new MemoryGrid())
    await sink.deliver([
      jobs(sink, 10, [
        { symbol: 'A', price: 1 },
        { symbol: 'B\n"é', price: 2 },
        { symbol: 'A', price: 3 },
      ]),
    ])
    const { frames } = await client(url)
    expect(frames[0]).toMatchObject({ type: 'snapshot', channel: 'prices' })
    expect(frames[0]!.values.find(({ key }) => key === 'A')).toEqual({
      key: 'A',
      value: { symbol: 'A', price: 3 },
      partition: 0,
      offset: '12',
    })
    expect(frames[0]!.values.find(({ key }) => key === 'B\n"é')?.offset).toBe('11')
    await sink.deliver([jobs(sink, 20, [{ symbol: 'A', price: 4 }])])
    await expect.poll(() => frames.length).toBe(2)
    expect(frames[1]).toEqual({
      type: 'update',
      channel: 'prices',
      values: [{ key: 'A', value: { symbol: 'A', price: 4 }, partition: 0, offset: '20' }],
    })
  })

  it('never lets an older value replace a newer one, also within a batch', async () => {
    const { sink, url } = await node(new MemoryGrid())
    await sink.deliver([jobs(sink, 50, [{ symbol: 'A', price: 50 }]), jobs(sink, 9, [{ symbol: 'A', price: 9 }])])
    await sink.deliver([jobs(sink, 40, [{ symbol: 'A', price: 40 }])])
    expect((await client(url)).latest.get('A')?.offset).toBe('50')
  })

  it('conflates many changes into few frames', async () => {
    const { sink, url } = await node(new MemoryGrid(), { frameIntervalMs: 200 })
    const { frames, latest } = await client(url)
    for (let offset = 1; offset <= 100; offset++) {
      await sink.deliver([jobs(sink, offset, [{ symbol: 'A', price: offset }])])
      if (offset % 10 === 0) await clock.sleep(1)
    }
    await expect.poll(() => latest.get('A')?.offset).toBe('100')
    expect(frames.length).toBeLessThan(5)
  })

  it('sends no two frames closer together than its interval, however fast values change', async () => {
    const { sink, url } = await node(new MemoryGrid())
    const sentMs: number[] = []
    sink.attach({
      readyState: 1,
      bufferedAmount: 0,
      send: () => void sentMs.push(performance.now()),
      close: () => undefined,
      terminate: () => undefined,
      on: () => undefined,
    })
    const { socket, frames } = await client(url)
    const arrivedMs: number[] = []
    socket.on('message', () => arrivedMs.push(performance.now()))
    let offset = 0
    for (; frames.length < 60; await clock.sleep(1)) await sink.deliver([jobs(sink, ++offset, [{ symbol: 'A', price: offset }])])
    const gapsOf = (times: readonly number[]) => times.slice(1).map((timeMs, index) => timeMs - times[index]!)
    expect(Math.min(...gapsOf(sentMs))).toBeGreaterThan(9.5)
    // The client sees some closer together when it was held up between them.
    const gapsMs = gapsOf(arrivedMs)
    expect(gapsMs.length).toBeGreaterThan(50)
    expect(gapsMs.filter((gapMs) => gapMs >= 8).length / gapsMs.length).toBeGreaterThanOrEqual(0.9)
    expect(offset).toBeGreaterThan(frames.length)
  })

  it('shows what another node applied, also to a node that starts later', async () => {
    const grid = new MemoryGrid()
    const [first, second] = [await node(grid), await node(grid)]
    const { latest } = await client(second.url)
    await first.sink.deliver([jobs(first.sink, 7, [{ symbol: 'A', price: 7 }])])
    await expect.poll(() => latest.get('A')?.offset).toBe('7')
    await expect.poll(() => grid.map.has('A')).toBe(true)
    grid.ring = []
    const third = await node(grid)
    await expect.poll(() => third.sink.stats.keys).toBe(1)
  })

  it('publishes again what the grid did not take', async () => {
    const grid = new MemoryGrid()
    const [first, second] = [await node(grid), await node(grid)]
    const append = vi.spyOn(grid, 'append').mockRejectedValueOnce(new Error('away'))
    // The ring alone is to bring the value.
    vi.spyOn(grid, 'put').mockRejectedValue(new Error('away'))
    await first.sink.deliver([jobs(first.sink, 7, [{ symbol: 'A', price: 7 }])])
    await expect.poll(() => second.sink.stats.keys, { timeout: 3000 }).toBe(1)
    expect(append).toHaveBeenCalledTimes(2)
  })

  it('looks into the snapshot at once when entries of the ring were overwritten before it read them', async () => {
    const grid = new MemoryGrid()
    const overwritten = Buffer.from('[]')
    const read = grid.read.bind(grid)
    vi.spyOn(grid, 'read').mockImplementation(async (ring, from, options) => {
      const found = await read(ring, from, options)
      return { ...found, entries: found.entries.filter((entry) => entry !== overwritten) }
    })
    const [first, second] = [await node(grid), await node(grid)]
    await first.sink.deliver([jobs(first.sink, 7, [{ symbol: 'A', price: 7 }])])
    await expect.poll(() => second.sink.stats.keys).toBe(1)
    grid.map.set('B', encodeLatest(mapSeal, 'B', { partition: 0, offset: 8n, timeMs: 1000, json: '{"price":8}' }))
    grid.ring.push(overwritten, Buffer.from('[]'))
    await expect.poll(() => second.sink.stats.keys, { timeout: 3000 }).toBe(2)
  })

  it('drops and counts what is not signed, or signed for another channel, scope or key', async () => {
    const grid = new MemoryGrid()
    const counted: unknown[] = []
    const forged = { partition: 0, offset: 2n ** 62n, timeMs: 1000, json: 'no JSON' }
    const entryOf = (seal: { secret: string; place: string }, key: string) => encodeFanout(seal, [[key, forged]], 65_536)
    grid.ring.push(
      Buffer.from(JSON.stringify([['A', [0, String(forged.offset), 1000, forged.json]]])),
      ...entryOf({ secret: 'a guess', place: fanoutRingName('s', 'prices') }, 'A'),
      ...entryOf({ secret, place: fanoutRingName('s', 'trades') }, 'A'),
      ...entryOf({ secret, place: fanoutRingName('another', 'prices') }, 'A'),
    )
    grid.map.set('A', encodeLatest(mapSeal, 'B', forged))
    const { sink, url } = await node(grid, { observer: { ...observer, count: (...call: unknown[]) => void counted.push(call) } })
    await expect.poll(() => counted).toEqual(Array.from({ length: 5 }, () => ['foreign', 1, 'prices']))
    expect(sink.stats.keys).toBe(0)
    await sink.deliver([jobs(sink, 7, [{ symbol: 'A', price: 7 }])])
    expect((await client(url)).latest.get('A')).toMatchObject({ value: { price: 7 }, offset: '7' })
  })

  it('restores the snapshot of a grid that lost everything', async () => {
    const grid = new MemoryGrid()
    const { sink } = await node(grid)
    await sink.deliver([jobs(sink, 7, [{ symbol: 'A', price: 7 }])])
    await expect.poll(() => grid.map.size).toBe(1)
    grid.lose()
    await expect.poll(() => grid.map.size, { timeout: 3000 }).toBe(1)
  })

  it('takes seeds only for keys without a live value', async () => {
    const seed = () =>
      Promise.resolve([
        { key: 'A', json: '{"price":1}' },
        { key: 'B', json: '{"price":2}' },
      ])
    const { sink, url } = await node(new MemoryGrid(), { seed })
    await sink.deliver([jobs(sink, 0, [{ symbol: 'A', price: 9 }])])
    const { latest } = await client(url)
    expect(latest.get('A')).toMatchObject({ value: { price: 9 }, offset: '0' })
    expect(latest.get('B')).toMatchObject({ value: { price: 2 }, offset: '-1' })
  })

  it('drops a client that stays behind, with the reason, and goes on serving the others', async () => {
    const { sink, url } = await node(new MemoryGrid(), { bufferBytesMax: 10_000, behindMsMax: 1000 })
    const slow = await client(url)
    const quick = await client(url)
    const closed = new Promise<string>((resolve) => slow.socket.on('close', (code, reason) => resolve(`${code} ${String(reason)}`)))
    slow.socket.pause()
    const price = 'x'.repeat(500_000)
    let offset = 0
    while (sink.stats.dropped === 0 && offset < 200) {
      await sink.deliver([jobs(sink, ++offset, [{ symbol: 'A', price }])])
      await clock.sleep(15)
    }
    slow.socket.resume()
    expect(await closed).toMatch(/^1013 too slow/)
    expect(sink.stats.dropped).toBe(1)
    await expect.poll(() => quick.latest.get('A')?.offset).toBe(String(offset))
  })

  it('tells of a push that fails and goes on with the next', async () => {
    const messages: string[] = []
    const told = { ...observer, log: (_level: string, message: string) => void messages.push(message) }
    const { sink, url } = await node(new MemoryGrid(), { observer: told })
    let looks = 0
    sink.attach({
      get readyState() {
        if (looks++ === 0) throw new Error('for once')
        return 3
      },
      bufferedAmount: 0,
      send: () => undefined,
      close: () => undefined,
      terminate: () => undefined,
      on: () => undefined,
    })
    await expect.poll(() => messages).toEqual(['channel prices cannot push: for once'])
    await sink.deliver([jobs(sink, 1, [{ symbol: 'A', price: 1 }])])
    expect((await client(url)).latest.get('A')?.offset).toBe('1')
  })

  it('refuses a job without a usable key or JSON form', () => {
    const sink = createWebSocket({
      definition: { channel: 'c', latestBy: (job) => job as string },
      grid: new MemoryGrid(),
      clock,
      observer,
      scope: 's',
      secret,
      nodeId: 'n',
    })
    expect(() => sink.encode(5)).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB' }))
    expect(() => sink.encode('k'.repeat(2000))).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB' }))
  })
})
