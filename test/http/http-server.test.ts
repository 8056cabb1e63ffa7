import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { HttpServer, type HttpServerOptions } from '../../src/http/http-server.ts'
import { loadConfig } from '../../src/config/config.ts'
import { settingsOf } from '../../src/config/settings-of.ts'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { queueCopier } from '../../src/inspect/queue-copier.ts'
import type { NodeSettings } from '../../src/config/settings.ts'
import { nodeStatus } from '../node/node-status.ts'

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function listen(options: Partial<HttpServerOptions> = {}): Promise<HttpServer> {
  const server = await HttpServer.listen({
    port: 0,
    status: nodeStatus,
    fatalReason: () => undefined,
    metrics: { contentType: 'text/plain; version=0.0.4', text: () => Promise.resolve('forebay_ready 1\n') },
    channels: () => new Map([['prices', { attach: (socket) => socket.send('attached') }]]),
    observer: { log: () => undefined },
    ...options,
  })
  open.push(server)
  return server
}

/** The server of a node whose configuration says `node` of itself. */
function listenAs(node: string): Promise<HttpServer> {
  const folder = mkdtempSync(join(tmpdir(), 'forebay-http-'))
  try {
    writeFileSync(join(folder, 'c.yaml'), `pipeline: p.ts\nevents: { kind: postgres }\nnode: ${node}\n`)
    const config = loadConfig(join(folder, 'c.yaml'), { FOREBAY_DATABASE_URL: 'postgres://127.0.0.1/x' })
    const { name: _, ...address } = settingsOf(config).node
    return listen(address)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** fetch refuses to set Host, so ask with plain HTTP. */
function statusOf(url: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { headers }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .on('error', reject)
      .end()
  })
}

/** The first message, or the status with which the upgrade was refused. */
function connect(
  url: string,
  options: { origin?: string; headers?: Record<string, string> } = {},
): Promise<{ socket: WebSocket; first?: string; refused?: number }> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url.replace('http', 'ws'), options)
    socket.on('message', (data) => resolve({ socket, first: String(data) }))
    socket.on('unexpected-response', (_request, response) => {
      response.resume()
      socket.on('error', () => undefined)
      resolve({ socket, refused: response.statusCode ?? 0 })
    })
  })
}

describe('HttpServer', () => {
  it('serves the status as JSON', async () => {
    const server = await listen()
    expect(await (await fetch(`${server.url}/status`)).json()).toEqual(JSON.parse(JSON.stringify(nodeStatus())))
  })

  it('serves the metrics with their content type', async () => {
    const server = await listen()
    const response = await fetch(`${server.url}/metrics`)
    expect(response.headers.get('content-type')).toContain('version=0.0.4')
    expect(await response.text()).toBe('forebay_ready 1\n')
  })

  it('is ready only while the status says so, and says why not', async () => {
    let status = nodeStatus()
    const server = await listen({ status: () => status })
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
    status = { ...status, isReady: false, reasons: ['the ledger does not answer'] }
    const response = await fetch(`${server.url}/readyz`)
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ isReady: false, reasons: ['the ledger does not answer'] })
  })

  it('is healthy while merely not ready, and neither healthy nor ready after a fatal stop', async () => {
    let reason: string | undefined
    const server = await listen({ fatalReason: () => reason, status: () => ({ ...nodeStatus(), isReady: reason !== undefined }) })
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
    reason = 'wrong database'
    expect((await fetch(`${server.url}/healthz`)).status).toBe(503)
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503)
  })

  it('serves a page whose policy admits its own script and style and nothing else', async () => {
    const server = await listen()
    const response = await fetch(server.url)
    const page = await response.text()
    const policy = response.headers.get('content-security-policy') ?? ''
    for (const tag of ['script', 'style']) {
      const [, text] = new RegExp(`<${tag}>([\\s\\S]*)</${tag}>`).exec(page) ?? []
      expect(policy).toContain(`${tag}-src 'sha256-${createHash('sha256').update(text!).digest('base64')}'`)
    }
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    expect(policy).not.toContain('upgrade-insecure-requests')
    expect(page).not.toMatch(/(src|href)="https?:/)
  })

  it('serves a script that is valid JavaScript', async () => {
    const server = await listen()
    const [, script] = /<script>([\s\S]*)<\/script>/.exec(await (await fetch(server.url)).text()) ?? []
    expect(() => new Function(script!)).not.toThrow()
  })

  it('answers unknown paths with 404 and a sentence', async () => {
    const server = await listen()
    const response = await fetch(`${server.url}/nothing`)
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ message: expect.stringContaining('/status') })
  })

  it('hides why a request failed but logs it', async () => {
    const logged: unknown[] = []
    const server = await listen({
      status: () => {
        throw new Error('secret detail')
      },
      observer: { log: (...parts) => void logged.push(parts) },
    })
    const response = await fetch(`${server.url}/status`)
    expect(response.status).toBe(500)
    expect(await response.text()).not.toContain('secret detail')
    expect(logged).toHaveLength(1)
  })

  it('refuses a foreign Host on every path against DNS rebinding, yet lets probes and scrapers in by address or allowed name', async () => {
    const server = await listen({ allowedHosts: ['forebay.example'] })
    const { port } = new URL(server.url)
    for (const path of ['', '/status', '/metrics', '/healthz', '/readyz', '/queues/0/0', '/nothing', '/ws/prices'])
      expect(await statusOf(`${server.url}${path}`, { host: `evil.example:${port}` })).toBe(421)
    expect(await statusOf(`${server.url}/status`, { host: `localhost:${port}` })).toBe(200)
    expect(await statusOf(`${server.url}/status`, { host: '10.1.2.3' })).toBe(200)
    expect(await statusOf(`${server.url}/status`, { host: 'forebay.example' })).toBe(200)
    for (const path of ['/healthz', '/readyz', '/metrics'])
      for (const host of ['10.1.2.3', `[fd00::1]:${port}`, 'forebay.example', `localhost:${port}`])
        expect(await statusOf(`${server.url}${path}`, { host })).toBe(200)
  })

  it('answers to the names its configuration allows, which its refusal tells to add', async () => {
    const server = await listenAs('{ port: 0, allowedHosts: [forebay.example] }')
    expect(await statusOf(`${server.url}/status`, { host: 'forebay.example' })).toBe(200)
    expect(await statusOf(`${server.url}/status`, { host: 'other.example' })).toBe(421)
    const page = await connect(`${server.url}/ws/prices`, { origin: 'https://forebay.example' })
    expect(page.first).toBe('attached')
    const refusal = await new Promise<string>((resolve) => {
      request(`${server.url}/status`, { headers: { host: 'other.example' } }, (response) => {
        response.on('data', (bytes) => resolve(String(bytes)))
      }).end()
    })
    const [, key] = /Add it to (\S+) /.exec(refusal) ?? []
    expect(key).toBe('node.allowedHosts')
  })

  it('tells others the name of its machine when it listens on every address, and answers to it', async () => {
    const server = await listenAs('{ port: 0, host: 0.0.0.0, open: true }')
    const { port } = new URL(server.url)
    expect(server.announcedUrl).toBe(`http://${hostname()}:${port}`)
    expect(server.url).toBe(`http://127.0.0.1:${port}`)
    expect(await statusOf(`${server.url}/status`, { host: `${hostname()}:${port}` })).toBe(200)
  })

  it('tells others what it is to advertise, with its own port unless another is named', async () => {
    const plain = await listenAs('{ port: 0, advertise: node-1.internal }')
    expect(plain.announcedUrl).toBe(`http://node-1.internal:${new URL(plain.url).port}`)
    expect(await statusOf(`${plain.url}/status`, { host: 'node-1.internal' })).toBe(200)
    expect((await listenAs('{ port: 0, advertise: "gate:18080" }')).announcedUrl).toBe('http://gate:18080')
    const local = await listenAs('{ port: 0 }')
    expect(local.announcedUrl).toBe(local.url)
  })

  it('limits requests a minute', async () => {
    const server = await listen({ requestsPerMinuteMax: 2 })
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await fetch(`${server.url}/status`)).status)
    expect(statuses).toEqual([200, 200, 429])
    expect((await connect(`${server.url}/ws/prices`)).refused).toBe(429)
    // A node that is asked too often is as well as before.
    for (const path of ['/healthz', '/readyz']) expect((await fetch(server.url + path)).status).toBe(200)
  })

  it('holds 256 connections besides those of its clients, and one more when one has left', async () => {
    const server = await listen({ clientsMax: 2, clientsPerAddressMax: 1000 })
    const { hostname: host, port } = new URL(server.url)
    const dial = async () => {
      const socket = connectSocket(Number(port), host)
      socket.on('error', () => undefined)
      await new Promise((resolve) => socket.once('connect', resolve))
      return socket
    }
    const sockets: Socket[] = []
    for (let n = 0; n < 258; n++) sockets.push(await dial())
    const refused = await dial()
    await new Promise((resolve) => refused.once('close', resolve))
    expect(sockets.every((socket) => !socket.destroyed)).toBe(true)
    sockets.pop()!.destroy()
    await expect.poll(() => statusOf(`${server.url}/healthz`, {}).catch(() => 0)).toBe(200)
    for (const socket of sockets) socket.destroy()
  })

  it('gives up on a request that does not arrive in its time, and on no WebSocket', async () => {
    const server = await listen({ requestTimeoutMs: 100 })
    const client = await connect(`${server.url}/ws/prices`)
    const { hostname: host, port } = new URL(server.url)
    const socket = connectSocket(Number(port), host)
    socket.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n')
    const text = await new Promise<string>((resolve) => socket.once('data', (bytes) => resolve(String(bytes))))
    expect(text).toMatch(/^HTTP\/1\.1 408 /)
    expect(client.socket.readyState).toBe(WebSocket.OPEN)
    socket.destroy()
  })

  it('says which address is taken', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => blocker.once('listening', resolve))
    const { port } = blocker.address() as AddressInfo
    await expect(listen({ port })).rejects.toMatchObject({ code: 'FB_CONFIG', message: expect.stringContaining(String(port)) })
    await new Promise((resolve) => blocker.close(resolve))
  })
})

describe('WebSocket of HttpServer', () => {
  it('hands a client to its channel', async () => {
    const server = await listen()
    const { first } = await connect(`${server.url}/ws/prices`)
    expect(first).toBe('attached')
    expect(server.clients).toBe(1)
  })

  it('answers an unknown channel with 404 and a plain request with 426', async () => {
    const server = await listen()
    expect((await connect(`${server.url}/ws/trades`)).refused).toBe(404)
    expect((await fetch(`${server.url}/ws/trades`)).status).toBe(404)
    expect((await fetch(`${server.url}/ws/prices`)).status).toBe(426)
  })

  it('refuses pages of foreign origins and foreign Hosts', async () => {
    const server = await listen()
    const url = `${server.url}/ws/prices`
    expect((await connect(url, { origin: 'https://evil.example' })).refused).toBe(403)
    expect((await connect(url, { origin: 'null' })).refused).toBe(403)
    expect((await connect(url, { headers: { host: 'evil.example' } })).refused).toBe(421)
    expect((await connect(url, { origin: 'http://localhost:3000' })).first).toBe('attached')
    expect((await connect(url, { origin: server.url })).first).toBe('attached')
  })

  it('admits no more than clientsMax clients, and one more when one has left', async () => {
    const server = await listen({ clientsMax: 1 })
    const { socket } = await connect(`${server.url}/ws/prices`)
    expect((await connect(`${server.url}/ws/prices`)).refused).toBe(503)
    socket.close()
    await expect.poll(() => server.clients).toBe(0)
    expect((await connect(`${server.url}/ws/prices`)).first).toBe('attached')
  })

  it('admits as many clients as its configuration says', async () => {
    const server = await listenAs('{ port: 0, clientsMax: 1 }')
    expect((await connect(`${server.url}/ws/prices`)).first).toBe('attached')
    expect((await connect(`${server.url}/ws/prices`)).refused).toBe(503)
  })

  it('closes a client that sends more than a few bytes', async () => {
    const server = await listen()
    const { socket } = await connect(`${server.url}/ws/prices`)
    const closed = new Promise<number>((resolve) => socket.on('close', resolve))
    socket.send('x'.repeat(10_000))
    expect(await closed).toBe(1009)
  })

  it('drops a client that answers no ping and keeps one that does', async () => {
    const server = await listen({ pingIntervalMs: 50 })
    await connect(`${server.url}/ws/prices`)
    const silent = new WebSocket(`${server.url.replace('http', 'ws')}/ws/prices`, { autoPong: false })
    const code = await new Promise<number>((resolve) => silent.on('close', resolve))
    expect(code).toBe(1006)
    await expect.poll(() => server.clients).toBe(1)
  })

  it('closes its clients with a reason when it stops', async () => {
    const server = await listen()
    const { socket } = await connect(`${server.url}/ws/prices`)
    const closed = new Promise<string>((resolve) => socket.on('close', (code, reason) => resolve(`${code} ${String(reason)}`)))
    open.splice(0)
    await server[Symbol.asyncDispose]()
    expect(await closed).toBe('1001 the node stops')
  })
})

describe('The copy of a queue', () => {
  it('is served for queues that exist, with a bounded number of jobs', async () => {
    const grid = new LocalJobGrid({ capacity: 20 })
    await grid.append('forebay.d.e1.p2.q0', Buffer.from('none of ours'))
    const settings = { grid: { queues: 2, secret: 'a secret of the test' } } as Pick<NodeSettings, 'grid'>
    const server = await listen({ queue: queueCopier(grid, settings, 3, () => 'd.e1') })
    const ask = async (path: string) => {
      const response = await fetch(`${server.url}/queues/${path}`)
      return [response.status, await response.json()] as const
    }
    expect(await ask('2/0?jobs=5')).toEqual([
      200,
      expect.objectContaining({ queue: '2/0', segments: [expect.objectContaining({ isReadable: false })] }),
    ])
    for (const path of ['3/0', '2/2', 'x/0', '2/0?jobs=100000']) expect((await ask(path))[0]).toBe(404)
    expect((await fetch(`${(await listen()).url}/queues/2/0`)).status).toBe(404)
    await grid[Symbol.asyncDispose]()
  })

  it('is made one at a time; who asks meanwhile is told to ask again', async () => {
    let finish: (copy: unknown) => void = () => undefined
    let isBroken = false
    const queue = () => (isBroken ? Promise.reject(new Error('the grid is away')) : new Promise((resolve) => (finish = resolve)))
    const server = await listen({ queue })
    const ask = () => fetch(`${server.url}/queues/0/0`)
    const first = ask()
    await expect.poll(async () => (await ask()).status).toBe(503)
    const refused = await ask()
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    finish({ queue: '0/0' })
    expect(await (await first).json()).toEqual({ queue: '0/0' })
    isBroken = true
    for (let n = 0; n < 2; n++) expect((await ask()).status).toBe(500)
  })
})
