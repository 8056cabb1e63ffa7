import { beforeEach, expect, it } from 'vitest'
import type { LatestValue } from '../../src/sinks/latest-values.ts'
import { PushClients } from '../../src/sinks/push-clients.ts'
import type { PushSocket } from '../../src/sinks/push-clients.ts'

let nowMs = 0
const clock = { now: () => nowMs, wallMs: () => nowMs, sleep: () => Promise.resolve() }
let values: Map<string, LatestValue>
let looks: number
let clients: PushClients

class PlayedSocket implements PushSocket {
  readyState = 1
  bufferedAmount = 0
  readonly sent: Buffer[] = []
  readonly ends: string[] = []
  send(data: Buffer) {
    this.sent.push(data)
  }
  close(code: number) {
    this.readyState = 2
    this.ends.push(`close ${code}`)
  }
  terminate() {
    this.readyState = 3
    this.ends.push('terminate')
  }
  on() {}
}

interface Frame {
  readonly type: string
  readonly values: readonly { readonly key: string; readonly value: unknown; readonly offset: string }[]
}
const framesOf = ({ sent }: PlayedSocket) => sent.map((bytes) => JSON.parse(String(bytes)) as Frame)

beforeEach(() => {
  nowMs = 0
  looks = 0
  values = new Map()
  clients = new PushClients({
    channel: 'prices',
    clock,
    values: { get: (key) => values.get(key), keys: () => (looks++, values.keys()) },
    bufferBytesMax: 1000,
    behindMsMax: 10_000,
  })
})

function set(key: string, offset: bigint, json = '1'): void {
  values.set(key, { partition: 0, offset, timeMs: 0, json })
  clients.changed(key)
}

function join(): PlayedSocket {
  const socket = new PlayedSocket()
  clients.add(socket)
  return socket
}

/** Ticks 10 ms apart until there is nothing to do; the number of them. */
function settle(ticksMax = 1000): number {
  let ticks = 0
  for (; clients.needsTick && ticks < ticksMax; ticks++, nowMs += 10) clients.tick()
  return ticks
}

it('newcomers share one snapshot over the few ticks they wait, and learn what changed meanwhile', () => {
  set('A', 1n)
  set('B', 2n)
  const sockets = Array.from({ length: 120 }, join)
  clients.tick()
  expect(sockets.filter(({ sent }) => sent.length > 0)).toHaveLength(50)
  set('A', 3n)
  clients.tick()
  expect(sockets.filter(({ sent }) => sent.length > 0)).toHaveLength(100)
  settle()
  expect(looks).toBe(1)
  expect(new Set(sockets.map(({ sent }) => sent[0])).size).toBe(1)
  for (const socket of sockets) {
    const frames = framesOf(socket)
    expect(frames.map(({ type }) => type)).toEqual(['snapshot', 'update'])
    expect(frames[1]?.values).toEqual([{ key: 'A', value: 1, partition: 0, offset: '3' }])
  }
  // Nobody waits any more: a later newcomer gets a new one.
  const late = join()
  settle()
  expect(framesOf(late)[0]?.values[0]?.offset).toBe('3')
  expect(looks).toBe(2)
})

it('a frame of many pieces is whole', () => {
  const json = JSON.stringify('é€😀'.repeat(1000))
  for (let n = 0; n < 500; n++) set(`key ${n}`, BigInt(n), json)
  const socket = join()
  settle()
  expect(socket.sent[0]!.length).toBeGreaterThan(4 << 20)
  expect(framesOf(socket)[0]!.values.map(({ key, value }) => [key, value === JSON.parse(json)])).toEqual(
    Array.from({ length: 500 }, (_, n) => [`key ${n}`, true]),
  )
})

it('a client that was behind catches up in frames of its own of a bounded size', () => {
  const socket = join()
  settle()
  socket.bufferedAmount = 5000
  for (let n = 0; n < 20; n++) set(`key ${n}`, BigInt(n), JSON.stringify('x'.repeat(400)))
  clients.tick()
  socket.bufferedAmount = 0
  settle()
  const [, ...updates] = framesOf(socket)
  expect(updates.length).toBeGreaterThan(5)
  expect(Math.max(...socket.sent.map(({ length }) => length))).toBeLessThan(3000)
  expect(updates.flatMap((frame) => frame.values.map(({ key }) => key))).toEqual([...values.keys()])
})

it('a client that missed very many keys gets the shared snapshot instead of frames of its own', () => {
  const sockets = [join(), join()]
  settle()
  for (const socket of sockets) socket.bufferedAmount = 5000
  for (let n = 0; n < 10_001; n++) set(`key ${n}`, BigInt(n))
  clients.tick()
  for (const socket of sockets) socket.bufferedAmount = 0
  expect(settle()).toBe(1)
  expect(framesOf(sockets[0]!).map(({ type, values: of }) => [type, of.length])).toEqual([
    ['snapshot', 0],
    ['snapshot', 10_001],
  ])
  expect(sockets[0]!.sent[1]).toBe(sockets[1]!.sent[1])
})

it('a client that is dropped is told why and cut off a second later, whatever it has not taken', () => {
  const socket = join()
  settle()
  socket.bufferedAmount = 5000
  set('A', 1n)
  for (; clients.dropped === 0 && nowMs < 20_000; nowMs += 10) clients.tick()
  expect([nowMs, socket.ends]).toEqual([10_020, ['close 1013']])
  expect(clients.needsTick).toBe(true)
  settle()
  expect(nowMs).toBeLessThan(11_100)
  expect(socket.ends).toEqual(['close 1013', 'terminate'])
  expect([clients.size, clients.needsTick]).toEqual([0, false])
})

it('a socket that cannot send is given up, and the others are served', () => {
  const broken = join()
  broken.send = () => {
    throw new Error('broken')
  }
  const other = join()
  set('A', 1n)
  settle()
  expect(broken.ends).toEqual(['terminate'])
  expect(framesOf(other)[0]?.values).toHaveLength(1)
  expect(clients.size).toBe(1)
})

it('what changed before a tick that failed goes out with the next', () => {
  const socket = join()
  settle()
  set('A', 1n)
  let isFailing = true
  Object.defineProperty(socket, 'bufferedAmount', {
    get: () => {
      if (isFailing) throw new Error('for once')
      return 0
    },
  })
  expect(() => clients.tick()).toThrow('for once')
  isFailing = false
  expect(clients.needsTick).toBe(true)
  settle()
  expect(framesOf(socket)[1]?.values).toMatchObject([{ key: 'A', offset: '1' }])
})

it('what changes while a client catches up reaches it too', () => {
  const socket = join()
  settle()
  socket.bufferedAmount = 5000
  set('A', 1n)
  clients.tick()
  socket.bufferedAmount = 0
  set('B', 2n)
  settle()
  expect(framesOf(socket).flatMap((frame) => frame.values.map(({ key }) => key))).toEqual(['A', 'B'])
})
