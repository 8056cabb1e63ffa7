import { beforeEach, expect, it } from 'vitest'
import type { LatestValue } from '../../src/sinks/web-socket/latest-values.ts'
import { PushClients } from '../../src/sinks/web-socket/push-clients.ts'
import type { PushClientsOptions, PushSocket, PushView } from '../../src/sinks/web-socket/push-clients.ts'

let nowMs = 0
const clock = { now: () => nowMs, wallMs: () => nowMs, sleep: () => Promise.resolve() }
let values: Map<string, LatestValue>
let looks: number
let clients: PushClients
let failures: unknown[]

class PlayedSocket implements PushSocket {
  readyState = 1
  bufferedAmount = 0
  /** Whether frames leave as soon as they are sent. */
  isTaking = true
  readonly sent: Buffer[] = []
  readonly ends: string[] = []
  #waiting: (() => void)[] = []
  #onClose: () => void = () => undefined
  send(data: Buffer, _options: { binary: boolean }, done: () => void) {
    this.sent.push(data)
    if (this.isTaking) return done()
    this.bufferedAmount += data.length
    this.#waiting.push(() => {
      this.bufferedAmount -= data.length
      done()
    })
  }
  /** The client takes the oldest frames that wait. */
  take(count: number) {
    for (const take of this.#waiting.splice(0, count)) take()
  }
  close(code: number) {
    this.readyState = 2
    this.ends.push(`close ${code}`)
  }
  terminate() {
    this.readyState = 3
    this.ends.push('terminate')
    this.#onClose()
  }
  on(_event: string, listener: () => void) {
    this.#onClose = listener
  }
}

interface Frame {
  readonly type: string
  readonly isComplete?: boolean
  readonly values: readonly { readonly key: string; readonly value: unknown; readonly offset: string }[]
}
const framesOf = ({ sent }: PlayedSocket) => sent.map((bytes) => JSON.parse(String(bytes)) as Frame)

beforeEach(() => {
  nowMs = 0
  looks = 0
  values = new Map()
  failures = []
  clients = clientsWith({})
})

function clientsWith(options: Partial<PushClientsOptions>): PushClients {
  return new PushClients({
    channel: 'prices',
    clock,
    values: { get: (key) => values.get(key), keys: () => (looks++, values.keys()) },
    bufferBytesMax: 1000,
    unsentBytesMax: 1 << 20,
    behindMsMax: 10_000,
    onViewFailure: (error) => void failures.push(error),
    ...options,
  })
}

function set(key: string, offset: bigint, json = '1'): void {
  values.set(key, { partition: 0, offset, timeMs: 0, json })
  clients.changed(key)
}

function join(view?: PushView): PlayedSocket {
  const socket = new PlayedSocket()
  clients.add(socket, view)
  return socket
}

/** What a client knows that keeps the newest frame's word, as a browser would; and whether a value ever went back. */
function knownBy(socket: PlayedSocket): Map<string, string> {
  const known = new Map<string, string>()
  for (const { type, values: told } of framesOf(socket)) {
    if (type === 'snapshot') known.clear()
    for (const { key, offset } of told) {
      expect(BigInt(offset)).toBeGreaterThanOrEqual(BigInt(known.get(key) ?? '-1'))
      known.set(key, offset)
    }
  }
  return known
}
const offsets = () => new Map([...values].map(([key, { offset }]) => [key, String(offset)]))

/** Ticks 10 ms apart until there is nothing to do; the number of them. */
function settle(ticksMax = 1000): number {
  let ticks = 0
  for (; clients.needsTick && ticks < ticksMax; ticks++, nowMs += 10) clients.tick()
  return ticks
}

it('newcomers share the pieces of one copy, and learn what changed meanwhile', () => {
  const json = JSON.stringify('x'.repeat(1000))
  for (let n = 0; n < 1000; n++) set(`key ${n}`, BigInt(n), json)
  const sockets = Array.from({ length: 25 }, () => join())
  clients.tick()
  expect(sockets.some(({ sent }) => sent.length < 2)).toBe(true)
  set('key 1', 2000n)
  settle()
  expect(looks).toBe(1)
  for (const socket of sockets) {
    const frames = framesOf(socket)
    expect([frames[0]!.type, frames[0]!.isComplete]).toEqual(['snapshot', false])
    expect(frames.slice(1).every(({ type }) => type === 'update')).toBe(true)
    expect(frames.findIndex(({ isComplete }) => isComplete === true)).toBeGreaterThan(6)
    expect(knownBy(socket)).toEqual(offsets())
  }
  expect(new Set(sockets.flatMap(({ sent }) => sent.filter(({ length }) => length > 1000))).size).toBeLessThan(15)
  // Nobody waits any more: who comes later takes the same pieces, and what they lack.
  const made = new Set(sockets.flatMap(({ sent }) => sent))
  const late = join()
  settle()
  expect(knownBy(late)).toEqual(offsets())
  expect(late.sent.filter((frame) => made.has(frame)).length).toBeGreaterThan(6)
})

it('a snapshot of one piece is one frame that says nothing of pieces', () => {
  set('A', 1n, '{"price":1}')
  const socket = join()
  settle()
  expect(socket.sent.map(String)).toEqual([
    '{"type":"snapshot","channel":"prices","values":[{"key":"A","value":{"price":1},"partition":0,"offset":"1"}]}',
  ])
})

it('frames are bounded, whatever characters they hold, and whole', () => {
  const json = JSON.stringify('é€😀'.repeat(1000))
  for (let n = 0; n < 500; n++) set(`key ${n}`, BigInt(n), json)
  const socket = join()
  settle()
  expect(Math.max(...socket.sent.map(({ length }) => length))).toBeLessThan(3 * (128 * 1024 + 5000))
  const told = framesOf(socket).flatMap((frame) => frame.values)
  expect(told.map(({ key, value }) => [key, value === JSON.parse(json)])).toEqual(Array.from({ length: 500 }, (_, n) => [`key ${n}`, true]))
  // Values that grow: a piece of the copy is split.
  for (let n = 0; n < 20; n++) set(`key ${n}`, BigInt(1000 + n), JSON.stringify('x'.repeat(40_000)))
  nowMs += 2000
  const late = join()
  settle()
  expect(Math.max(...late.sent.map(({ length }) => length))).toBeLessThan(3 * (128 * 1024 + 40_000))
  for (const each of [socket, late]) expect(knownBy(each)).toEqual(offsets())
})

it('a client that was behind catches up with what it missed, and no more, in bounded frames', () => {
  for (let n = 0; n < 3000; n++) set(`key ${n}`, 0n)
  const socket = join()
  settle()
  const before = socket.sent.length
  socket.bufferedAmount = 5000
  for (let n = 0; n < 1000; n++) {
    set(`key ${n % 300}`, BigInt(n + 1), JSON.stringify('x'.repeat(2000)))
    if (n % 100 === 0) clients.tick()
  }
  clients.tick()
  expect(socket.sent).toHaveLength(before)
  socket.bufferedAmount = 0
  settle()
  const updates = framesOf(socket).slice(before)
  expect(updates.length).toBeGreaterThan(3)
  expect(Math.max(...socket.sent.slice(before).map(({ length }) => length))).toBeLessThan(140_000)
  expect(updates.flatMap((frame) => frame.values)).toHaveLength(300)
  expect(knownBy(socket)).toEqual(offsets())
})

it('whatever changes in whatever order, every client that takes its frames ends with the newest of every key', () => {
  let seed = 7
  const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below
  const sockets: PlayedSocket[] = []
  for (let step = 0; step < 600; step++) {
    if (step % 30 === 0) {
      const socket = join(step % 90 === 0 ? { allows: (key) => !key.endsWith('7') } : step % 210 === 0 ? { asked: ['key 3', 'key 5'] } : {})
      socket.isTaking = step % 60 === 0
      sockets.push(socket)
    }
    for (let n = random(20); n > 0; n--)
      set(`key ${random(step + 10)}`, BigInt(step), JSON.stringify('v'.repeat(random(random(200) === 0 ? 90_000 : 300))))
    for (const socket of sockets) socket.take(random(3))
    clients.tick()
    nowMs += random(5) === 0 ? 400 : 10
  }
  for (let turn = 0; turn < 20_000 && clients.needsTick; turn++) {
    for (const socket of sockets) socket.take(5)
    clients.tick()
    nowMs += 10
  }
  expect(clients.unsentBytes).toBe(sockets.reduce((sum, { bufferedAmount }) => sum + bufferedAmount, 0))
  sockets.forEach((socket, index) => {
    if (socket.readyState !== 1) return
    const step = index * 30
    const sees = (key: string) => (step % 90 === 0 ? !key.endsWith('7') : step % 210 === 0 ? ['key 3', 'key 5'].includes(key) : true)
    expect(knownBy(socket)).toEqual(new Map([...offsets()].filter(([key]) => sees(key))))
  })
  expect(sockets.filter(({ readyState }) => readyState === 1).length).toBeGreaterThan(12)
})

it('what sockets hold unsent stays within its bound, and who takes nothing is dropped for those who do', () => {
  clients = clientsWith({ unsentBytesMax: 1 << 20, bufferBytesMax: 256 << 10 })
  const json = JSON.stringify('x'.repeat(5000))
  let offset = 0n
  const turn = () => {
    // Everything changes all the time, so that old and new pieces are different ones.
    for (let n = 0; n < 20; n++) set(`key ${Number(offset % 400n)}`, offset++, json)
    clients.tick()
    nowMs += 10
  }
  for (let n = 0; n < 20; n++) turn()
  const dead: PlayedSocket[] = []
  for (let n = 0; n < 600; n++) {
    if (n % 5 === 0) {
      const socket = join(n % 2 === 0 ? {} : { isCopying: true })
      socket.isTaking = false
      dead.push(socket)
    }
    turn()
    expect(clients.unsentBytes).toBeLessThan(1.3 * (1 << 20))
  }
  expect(clients.dropped).toBeGreaterThan(20)
  expect(dead[0]!.ends).toEqual(['close 1013', 'terminate'])
  const good = join()
  for (let n = 0; n < 500; n++) turn()
  for (let n = 0; n < 3000 && clients.needsTick; n++, nowMs += 10) clients.tick()
  expect(knownBy(good)).toEqual(offsets())
})

it('a socket that holds very many small frames is full, however few their bytes are', () => {
  const socket = join()
  settle()
  socket.isTaking = false
  for (let n = 0; n < 1000; n++) {
    set('A', BigInt(n))
    clients.tick()
  }
  expect(socket.sent.length).toBeLessThan(300)
  socket.isTaking = true
  socket.take(1000)
  settle()
  expect(knownBy(socket)).toEqual(offsets())
})

it('a client that asked for keys, or may see only some, gets those alone, in the snapshot and later', () => {
  for (const key of ['A', 'B', 'C', '__proto__', 'constructor']) set(key, 1n)
  const asked = join({ asked: ['B', 'none yet', '__proto__'] })
  const some = join({ allows: (key) => key > 'A' && key < 'D' })
  const both = join({ asked: ['A', 'B'], allows: (key) => key !== 'A' })
  const none = join({ allows: () => false })
  const promised = join({ allows: (() => Promise.resolve(true)) as unknown as (key: string) => boolean })
  settle()
  for (const key of ['A', 'B', 'C', 'none yet']) set(key, 2n)
  settle()
  const keysOf = (socket: PlayedSocket) => framesOf(socket).map(({ type, values: told }) => [type, ...told.map(({ key }) => key)])
  expect(keysOf(asked)).toEqual([
    ['snapshot', 'B', '__proto__'],
    ['update', 'B', 'none yet'],
  ])
  expect(keysOf(some)).toEqual([
    ['snapshot', 'B', 'C'],
    ['update', 'B', 'C'],
  ])
  expect(keysOf(both)).toEqual([
    ['snapshot', 'B'],
    ['update', 'B'],
  ])
  for (const socket of [none, promised]) expect(keysOf(socket)).toEqual([['snapshot']])
})

it('a client of which it cannot be decided what it may see is sent away, and the others are served', () => {
  set('A', 1n)
  const broken = join({
    allows: () => {
      throw new Error('no rights service')
    },
  })
  const other = join()
  settle()
  expect(broken.sent).toEqual([])
  expect(broken.ends).toEqual(['close 1011', 'terminate'])
  expect(failures).toHaveLength(1)
  expect(framesOf(other)[0]?.values).toHaveLength(1)
  expect(clients.size).toBe(1)
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
