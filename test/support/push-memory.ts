/**
 * A program of its own, so that its memory can be measured: a channel full to its bound behind the real HTTP server, and clients that
 * connect, 24 a second, and never read. Prints what it held.
 *
 * `node --import tsx push-memory.ts SECONDS`
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { JobLines } from '../../src/grid/segment.ts'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { HttpServer } from '../../src/http/http-server.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import { createWebSocket } from '../../src/sinks/web-socket/web-socket.ts'
import { nodeStatus } from '../node/node-status.ts'

const seconds = Number(process.argv[2])
const clock = new SystemClock()
const observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }
const grid = new LocalJobGrid({ capacity: 100 })
const sink = createWebSocket({
  definition: { channel: 'prices', latestBy: (value) => (value as { key: string }).key },
  grid,
  clock,
  observer,
  scope: 's',
  secret: 'a secret of the test',
  nodeId: 'n',
})
const stop = new AbortController()
const following = sink.follow(stop.signal)
const server = await HttpServer.listen({
  port: 0,
  clientsMax: 5000,
  clientsPerAddressMax: 5000,
  status: nodeStatus,
  fatalReason: () => undefined,
  metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
  channels: () => new Map([['prices', sink]]),
  observer,
})

let offset = 0n
/** The channel is full at 64 MiB, which counts two bytes a character. */
async function fill(from: number, to: number): Promise<void> {
  const lines: string[] = []
  for (let n = from; n < to; n++) lines.push(sink.encode({ key: `key ${n}`, pad: 'x'.repeat(2900), at: String(offset) }))
  const bytes = Buffer.from(`${lines.join('\n')}\n`)
  const of = { task: 't', kind: 'job', partition: 0, queue: 0 } as const
  const deltas = Uint32Array.from(lines, (_, index) => index)
  await sink.deliver([new JobLines(of, bytes, { offset, timeMs: Date.now() }, deltas, new Uint32Array(lines.length))])
  offset += BigInt(lines.length)
}

const keys = 11_000
const empty = process.memoryUsage.rss()
for (let n = 0; n < keys; n += 500) await fill(n, n + 500)
const { port } = new URL(server.url)
const sockets: ReturnType<typeof connect>[] = []
let rssMax = 0
for (let tick = 0; tick < seconds * 24; tick++) {
  const socket = connect({ port: Number(port), host: '127.0.0.1' })
  socket.on('error', () => undefined)
  socket.write(
    'GET /ws/prices HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  socket.pause()
  sockets.push(socket)
  // Everything moves meanwhile: a copy of the values is out of date as soon as it is made.
  const from = (tick * 100) % keys
  await fill(from, from + 100)
  await sleep(1000 / 24)
  rssMax = Math.max(rssMax, process.memoryUsage.rss())
}
const { keys: held, clients, dropped } = sink.stats
process.stdout.write(`${JSON.stringify({ empty, rssMax, keys: held, clients, dropped })}\n`)
for (const socket of sockets) socket.destroy()
stop.abort()
await following
await server[Symbol.asyncDispose]()
await grid[Symbol.asyncDispose]()
