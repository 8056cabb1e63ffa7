/** The doors of a node, as somebody sees them who wants in. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { request as requestTls } from 'node:https'
import { connect as dial, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { WebSocket, type ClientOptions } from 'ws'
import { askPage } from '../../src/inspect/node-client.ts'
import { askNodes } from '../../src/inspect/node-facts.ts'
import { Access } from '../../src/http/access.ts'
import { HttpServer, type HttpServerOptions } from '../../src/http/http-server.ts'
import type { PushChannel } from '../../src/http/socket-door.ts'
import { addressGroup, Visitors } from '../../src/http/visitors.ts'
import { decideAccess } from '../../src/sinks/web-socket/channel-access.ts'
import type { PushView } from '../../src/sinks/web-socket/push-clients.ts'
import type { ChannelRequest, ChannelVerdict } from '../../src/sinks/web-socket/web-socket-definition.ts'
import { nodeStatus } from './node-status.ts'

const token = 'a-token-of-some-length'
const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

let attached: { channel: string; view: PushView }[] = []
const logged: unknown[][] = []

function channelNamed(name: string, authorize?: (request: ChannelRequest) => ChannelVerdict | Promise<ChannelVerdict>): PushChannel {
  return {
    attach: (socket, view) => {
      attached.push({ channel: name, view })
      socket.send(name)
    },
    ...(authorize === undefined ? {} : { authorize: (asked: ChannelRequest) => decideAccess(authorize, asked, 100) }),
  }
}

async function listen(options: Partial<HttpServerOptions> = {}): Promise<HttpServer> {
  attached = []
  logged.length = 0
  const channels = new Map([['prices', channelNamed('prices')]])
  const server = await HttpServer.listen({
    port: 0,
    status: nodeStatus,
    fatalReason: () => undefined,
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('forebay_ready 1\n') },
    queue: (partition, queue, jobs) => Promise.resolve({ queue: `${partition}/${queue}`, jobs }),
    channels: () => channels,
    observer: { log: (...parts) => void logged.push(parts) },
    ...options,
  })
  open.push(server)
  return server
}

/** A node that other machines reach. */
const reached = { host: '0.0.0.0', token }
const bearer = (text = token) => ({ headers: { authorization: `Bearer ${text}` } })
const statusAt = async (url: string, init?: RequestInit) => (await fetch(url, init)).status

/** What a WebSocket is answered: the first message, or the status and sentence of the refusal. */
function knock(
  url: string,
  options: ClientOptions = {},
  protocols: string[] = [],
): Promise<{ socket: WebSocket; first?: string; refused?: number; why?: string }> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, options)
    socket.on('error', () => undefined)
    socket.on('message', (data) => resolve({ socket, first: String(data) }))
    socket.on('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (bytes) => (body += String(bytes)))
      response.on('end', () =>
        resolve({ socket, refused: response.statusCode ?? 0, why: (JSON.parse(body) as { message: string }).message }),
      )
    })
  })
}
const closed = (socket: WebSocket) => new Promise<number>((resolve) => socket.on('close', resolve))

async function raw(server: HttpServer, text: string): Promise<{ socket: Socket; answer: Promise<string> }> {
  const socket = dial(Number(new URL(server.url).port), '127.0.0.1')
  let said = ''
  socket.on('data', (bytes) => (said += String(bytes)))
  socket.on('error', () => undefined)
  const answer = new Promise<string>((resolve) => socket.on('close', () => resolve(said)))
  await new Promise((resolve) => socket.once('connect', resolve))
  if (text !== '') socket.write(text)
  return { socket, answer }
}

describe('A node that other machines reach', () => {
  it('does not start without a token, unless it is open in words', async () => {
    for (const host of ['0.0.0.0', '::'])
      await expect(listen({ host })).rejects.toMatchObject({ code: 'FB_CONFIG', message: expect.stringContaining('node.tokenFile') })
    const server = await listen({ host: '0.0.0.0', isOpen: true })
    expect(await statusAt(`${server.url}/status`)).toBe(200)
    // Open pages are one thing, the data of jobs another.
    expect(await statusAt(`${server.url}/queues/0/0`)).toBe(200)
    expect(await statusAt(`${server.url}/queues/0/0?jobs=1`)).toBe(401)
  })

  it('asks for its token at every path but the probes, and tells nothing before', async () => {
    const server = await listen(reached)
    for (const path of [
      '/',
      '/status',
      '/metrics',
      '/queues/0/0',
      '/queues/0/0?jobs=5',
      '/ws/prices',
      '/ws/none',
      '/nothing',
      '//status',
      '/status/',
      '/%2e%2e/status',
      '/healthz/../status',
      '/healthz?/../status',
      '/readyz/',
    ])
      expect([path, await rawStatus(server, path)]).toEqual([path, path.startsWith('/healthz?') ? 200 : 401])
    for (const path of ['/healthz', '/readyz']) expect(await statusAt(server.url + path)).toBe(200)
    for (const path of ['/', '/status', '/metrics', '/queues/0/0?jobs=5']) expect(await statusAt(server.url + path, bearer())).toBe(200)
    for (const method of ['POST', 'PUT', 'HEAD', 'OPTIONS']) expect(await statusAt(`${server.url}/status`, { method })).toBe(401)
    expect(await statusAt(`${server.url}/status`, { headers: { authorization: `bEARER  ${token} ` } })).toBe(200)
    for (const wrong of [`Bearer ${token}x`, `Bearer ${token.slice(1)}`, 'Bearer', `Basic ${token}`, token, `Bearer ${token},Bearer x`])
      expect(await statusAt(`${server.url}/status`, { headers: { authorization: wrong } })).toBe(401)
    expect(await statusAt(`${server.url}/status?token=${token}&authorization=${token}`, { headers: { cookie: `token=${token}` } })).toBe(
      401,
    )
  })

  it('shows its page to everybody, which holds nothing, and says 401 until the page has the token', async () => {
    const server = await listen(reached)
    const response = await fetch(server.url)
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    const page = await response.text()
    expect(page).toContain('id="login"')
    expect(page).toBe(await (await fetch(server.url, bearer())).text())
  })

  it('opens a WebSocket for the token or for a ticket, which opens one', async () => {
    const server = await listen(reached)
    const url = `${server.url}/ws/prices`
    expect(await knock(url)).toMatchObject({ refused: 401, why: expect.stringContaining('node.tokenFile') })
    expect((await knock(`${url}?token=${token}`)).refused).toBe(401)
    expect((await knock(url, bearer())).first).toBe('prices')
    const draw = async (init: RequestInit) => fetch(`${server.url}/tickets`, { method: 'POST', ...init })
    expect((await draw({})).status).toBe(401)
    expect(await statusAt(`${server.url}/tickets`, bearer())).toBe(404)
    const { ticket } = (await (await draw(bearer())).json()) as { ticket: string }
    expect(ticket.length).toBeGreaterThan(40)
    expect((await knock(`${url}?ticket=${ticket.slice(1)}`)).refused).toBe(401)
    // It is no token.
    expect(await statusAt(`${server.url}/status?ticket=${ticket}`, bearer(ticket))).toBe(401)
    const answers = await Promise.all([1, 2, 3].map(() => knock(`${url}?ticket=${ticket}`)))
    expect(answers.map(({ first, refused }) => first ?? refused).sort()).toEqual([401, 401, 'prices'])
    expect(attached).toEqual(Array.from({ length: 2 }, () => ({ channel: 'prices', view: { isCopying: false } })))
  })

  it('opens a WebSocket for the token as a subprotocol, and names that to nobody', async () => {
    const server = await listen(reached)
    const url = `${server.url}/ws/prices`
    const offer = (text: string) => `bearer.${Buffer.from(text).toString('base64url')}`
    for (const protocols of [
      ['forebay', offer(token)],
      [offer(token), 'forebay'],
    ]) {
      const { first, socket } = await knock(url, {}, protocols)
      expect([first, socket.protocol]).toEqual(['prices', 'forebay'])
    }
    for (const protocols of [
      ['forebay'],
      [offer(token)],
      ['Forebay', offer(token)],
      ['forebay', offer(`${token}x`)],
      ['forebay', offer(token.slice(1))],
      ['forebay', offer('')],
      ['forebay', `bearer.${token}`],
      ['forebay', offer('another'), offer(token)],
    ])
      expect(await knock(url, {}, protocols)).toMatchObject({ refused: 401, why: expect.not.stringContaining('bearer.') })
    // It opens WebSockets and nothing else.
    expect(await statusAt(`${server.url}/status`, { headers: { 'sec-websocket-protocol': `forebay, ${offer(token)}` } })).toBe(401)
    expect(JSON.stringify(logged)).not.toContain(offer(token))
  })

  it('names no subprotocol but its own in its answer, and shows authorize none that is its token', async () => {
    const seen: (string | undefined)[] = []
    const authorize = ({ headers }: ChannelRequest) => (seen.push(headers['sec-websocket-protocol']), {})
    const server = await listen({ ...reached, isOpen: true, channels: () => new Map([['own', channelNamed('own', authorize)]]) })
    const upgrade = (protocols: string) =>
      new Promise<string>((resolve) => {
        const socket = dial(Number(new URL(server.url).port), '127.0.0.1')
        let said = ''
        socket.on('data', (bytes) => {
          said += String(bytes)
          if (said.includes('own')) socket.destroy()
        })
        socket.on('close', () => resolve(said))
        socket.write(
          `GET /ws/own HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
            `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocols}\r\n\r\n`,
        )
      })
    const offered = `bearer.${Buffer.from(token).toString('base64url')}`
    for (const protocols of [offered, `${offered}, json`, `json, ${offered}`]) {
      const answer = await upgrade(protocols)
      expect(answer).toMatch(/^HTTP\/1\.1 101 /)
      expect(answer).not.toMatch(/websocket-protocol/i)
    }
    const answer = await upgrade(`bearer.dXNlcg, ${offered},forebay`)
    expect(answer).toMatch(/\r\nSec-WebSocket-Protocol: forebay\r\n/)
    expect(answer).not.toContain('bearer')
    expect(seen).toEqual(['', 'json', 'json', 'bearer.dXNlcg, forebay'])
  })

  it('shows lines of jobs on loopback too only to those who have the token, where there is one', async () => {
    const server = await listen({ token })
    expect(await statusAt(`${server.url}/status`)).toBe(200)
    expect(await statusAt(`${server.url}/queues/0/0`)).toBe(200)
    expect(await statusAt(`${server.url}/queues/0/0?jobs=1`)).toBe(401)
    expect(await statusAt(`${server.url}/queues/0/0?jobs=1`, bearer())).toBe(200)
    expect((await knock(`${server.url}/ws/prices`)).first).toBe('prices')
    expect(await statusAt(`${(await listen()).url}/queues/0/0?jobs=1`)).toBe(200)
  })

  it('tells commands with another token that they have another', async () => {
    const server = await listen(reached)
    expect(await askNodes([server.url], { token })).toMatchObject([{ silence: null, status: { isReady: true } }])
    for (const wrong of ['another-token-than-that', undefined])
      expect(await askNodes([server.url], { token: wrong })).toMatchObject([{ status: null, silence: 'locked' }])
  })
})

/** The path as it is written here: fetch would tidy it. */
function rawStatus(server: HttpServer, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    request({ hostname, port, path }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .on('error', reject)
      .end()
  })
}

describe('Tickets', () => {
  it('end, are few, and go once', () => {
    let nowMs = 0
    const access = new Access({ token, isTokenNeeded: true, now: () => nowMs })
    const first = access.drawTicket().ticket
    nowMs = 29_999
    const second = access.drawTicket()
    expect(access.redeem(first)).toBe(true)
    expect(access.redeem(first)).toBe(false)
    nowMs += second.expiresInMs
    expect(access.redeem(second.ticket)).toBe(false)
    const many = Array.from({ length: 1500 }, () => access.drawTicket().ticket)
    expect(many.filter((ticket) => access.redeem(ticket)).length).toBeLessThanOrEqual(1000)
    for (const none of [null, '', '__proto__', 'constructor']) expect(access.redeem(none)).toBe(false)
  })

  it('and tokens of none are had by nobody', () => {
    const access = new Access({ token: undefined, isTokenNeeded: true })
    for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Bearer undefined']) expect(access.isBearer(header)).toBe(false)
    for (const header of [undefined, '', 'forebay', 'forebay, bearer.', 'forebay, bearer.dW5kZWZpbmVk'])
      expect(access.isOffered(header)).toBe(false)
  })
})

describe('TLS of a node', () => {
  const folder = mkdtempSync(join(tmpdir(), 'forebay-tls-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const make = (name: string, altName: string) => {
    const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)]
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${altName}`]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        keyFile,
        '-out',
        certFile,
        ...subject,
      ],
      { stdio: 'ignore' },
    )
    return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8'), ca: undefined }
  }

  it('serves https and wss, and commands know the node by its certificate and nobody else', async () => {
    const [own, other] = [make('node-1.internal', 'DNS:node-1.internal'), make('evil.internal', 'IP:127.0.0.1')]
    const server = await listen({ ...reached, tls: own, advertise: 'node-1.internal' })
    expect(server.url).toMatch(/^https:/)
    expect(server.announcedUrl).toMatch(/^https:\/\/node-1\.internal:/)
    expect(await askNodes([server.url], { token, tls: own })).toMatchObject([{ silence: null }])
    expect(await askNodes([server.url], { token, tls: other })).toMatchObject([{ silence: 'refused' }])
    await expect(askPage(new URL('/status', server.url), { token }, 2000)).rejects.toThrow(/self-signed|certificate/)
    const { first, socket } = await knock(`${server.url}/ws/prices`, {
      ...bearer(),
      ca: own.cert,
      checkServerIdentity: () => undefined as unknown as boolean,
    })
    expect([first, attached[0]!.view.isCopying]).toEqual(['prices', true])
    socket.close()
    // Who cannot prove to be a node of this configuration learns no token.
    const heard: (string | undefined)[] = []
    const impostor = createServer(({ headers }, response) => {
      heard.push(headers.authorization)
      response.end('{}')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => impostor.once('listening', resolve))
    const { port } = impostor.address() as AddressInfo
    await askNodes([`http://127.0.0.1:${port}`], { token, tls: own })
    await askNodes([`http://127.0.0.1:${port}`], { token })
    expect(heard).toEqual([undefined, `Bearer ${token}`])
    impostor.close()
    const status = await new Promise((resolve, reject) => {
      requestTls(`${server.url}/status`, { ...bearer(), ca: own.cert, checkServerIdentity: () => undefined }, (response) => {
        response.resume()
        resolve([response.statusCode, response.headers['strict-transport-security']])
      })
        .on('error', reject)
        .end()
    })
    expect(status).toEqual([200, undefined])
  })
})

describe('Upgrades', () => {
  it('of any path but a channel’s are refused before they count', async () => {
    const server = await listen({ clientsMax: 1 })
    for (const path of [
      '/',
      '/status',
      '/metrics',
      '/queues/0/0',
      '/healthz',
      '/ws',
      '/ws/',
      '/ws/prices/x',
      '/ws//prices',
      '//ws/prices',
      '/x/../ws/prices',
      '/ws/%',
      '/ws/prices#x',
    ])
      expect([path, (await rawUpgrade(server, path)).split(' ')[1]]).toEqual([path, '404'])
    for (const name of ['__proto__', 'constructor', 'toString', 'pric%65s%00', 'PRICES', '..%2fstatus'])
      expect([name, (await knock(`${server.url}/ws/${name}`)).refused]).toEqual([name, 404])
    expect(server.clients).toBe(0)
    expect((await knock(`${server.url}/ws/pric%65s`)).first).toBe('prices')
  })

  it('that are none are answered as what they are', async () => {
    const server = await listen()
    const { answer } = await raw(
      server,
      'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n',
    )
    expect(await answer).toMatch(/^HTTP\/1\.1 200 [^]*"isHealthy":true/)
    for (const broken of ['Sec-WebSocket-Version: 13\r\n', 'Sec-WebSocket-Version: 1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n']) {
      const wrong = await raw(
        server,
        `GET /ws/prices HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${broken}\r\n`,
      )
      expect(await wrong.answer).toMatch(/^HTTP\/1\.1 400 /)
    }
    expect(server.clients).toBe(0)
    expect((await knock(`${server.url}/ws/prices`)).first).toBe('prices')
  })

  it('are counted by address, and one more is let in when one has left', async () => {
    const server = await listen({ clientsPerAddressMax: 2 })
    const url = `${server.url}/ws/prices`
    const [first] = [await knock(url), await knock(url)]
    expect(await knock(url)).toMatchObject({ refused: 429, why: expect.stringContaining('clientsPerAddressMax') })
    // What anybody can say of himself is not believed.
    for (const header of ['x-forwarded-for', 'forwarded', 'x-real-ip'])
      expect((await knock(url, { headers: { [header]: '10.0.0.1' } })).refused).toBe(429)
    expect((await knock(url, { localAddress: '127.0.0.2' })).first).toBe('prices')
    first!.socket.terminate()
    await expect.poll(async () => (await knock(url)).first).toBe('prices')
  })

  it('take no messages: one ends the client, however it is cut, and so do very many pings', async () => {
    const server = await listen()
    const url = `${server.url}/ws/prices`
    const { socket: talker } = await knock(url)
    talker.send('hello')
    expect(await closed(talker)).toBe(1008)
    const { socket: binary } = await knock(url)
    binary.send(Buffer.alloc(8))
    expect(await closed(binary)).toBe(1008)
    const { socket: large } = await knock(url)
    large.send('x'.repeat(65))
    expect(await closed(large)).toBe(1009)
    const { socket: cutter } = await knock(url)
    for (let n = 0; n < 40; n++) cutter.send(Buffer.from('x'), { fin: false })
    expect([1008, 1009, 1006]).toContain(await closed(cutter))
    const { socket: pinger } = await knock(url)
    for (let n = 0; n < 50; n++) pinger.ping()
    expect(await closed(pinger)).toBe(1006)
    const { socket: polite } = await knock(url)
    const ponged = new Promise((resolve) => polite.on('pong', resolve))
    polite.ping('still here')
    expect(String(await ponged)).toBe('still here')
    await expect.poll(() => server.clients).toBe(1)
  })
})

function rawUpgrade(server: HttpServer, path: string): Promise<string> {
  return raw(
    server,
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  ).then(({ answer }) => answer)
}

describe('A client that may see a part', () => {
  const grants = (request: ChannelRequest): ChannelVerdict => {
    if (request.query.get('user') === null) return false
    return { keys: (key) => key.startsWith(`${request.query.get('user')}/`) }
  }
  const serve = (authorize: (request: ChannelRequest) => ChannelVerdict | Promise<ChannelVerdict>) =>
    listen({ channels: () => new Map([['own', channelNamed('own', authorize)]]) })

  it('is let in with the keys that authorize grants it and those it asked for', async () => {
    const seen: ChannelRequest[] = []
    const server = await serve((request) => (seen.push(request), grants(request)))
    expect((await knock(`${server.url}/ws/own`)).refused).toBe(403)
    expect(
      (await knock(`${server.url}/ws/own?user=ann&key=ann/1&key=bob/1&key=ann/1&ticket=t`, { headers: { cookie: 'a=b', 'x-user': 'x' } }))
        .first,
    ).toBe('own')
    const { view } = attached[0]!
    expect(view.asked).toEqual(['ann/1', 'bob/1'])
    expect([view.allows!('ann/1'), view.allows!('bob/1')]).toEqual([true, false])
    expect(seen[1]).toMatchObject({ channel: 'own', address: '127.0.0.1', keys: ['ann/1', 'bob/1'] })
    expect([...seen[1]!.query.keys()]).toEqual(['user'])
    expect([seen[1]!.headers['cookie'], seen[1]!.headers['x-user'], seen[1]!.headers['constructor'], seen[0]!.keys]).toEqual([
      'a=b',
      'x',
      undefined,
      undefined,
    ])
  })

  it('may ask for so many keys and no more', async () => {
    const server = await listen()
    const keys = (count: number, chars = 1) => Array.from({ length: count }, (_, n) => `key=${String(n).padStart(chars, '0')}`).join('&')
    expect((await knock(`${server.url}/ws/prices?${keys(100)}`)).first).toBe('prices')
    expect(attached[0]!.view.asked).toHaveLength(100)
    expect((await knock(`${server.url}/ws/prices?${keys(101)}`)).refused).toBe(400)
    expect((await knock(`${server.url}/ws/prices?${keys(1, 513)}`)).refused).toBe(400)
  })

  it('is refused by whatever is not a clear yes, and the log says why', async () => {
    const answers: [string, () => unknown, RegExp | undefined][] = [
      [
        'a throw',
        () => {
          throw new Error('no service')
        },
        /no service/,
      ],
      ['a rejection', () => Promise.reject(new Error('no service')), /no service/],
      ['silence', () => new Promise(() => undefined), /within 100 ms/],
      ['true', () => true, /must answer/],
      ['null', () => null, /must answer/],
      ['keys that are a list', () => ({ keys: ['a'] }), /must answer/],
      ['false', () => false, undefined],
      ['undefined', () => undefined, /must answer/],
    ]
    for (const [what, answer, why] of answers) {
      const server = await serve(answer as () => ChannelVerdict)
      expect([what, (await knock(`${server.url}/ws/own`)).refused]).toEqual([what, 403])
      expect(server.clients).toBe(0)
      const [, sentence] = logged[0] ?? []
      if (why === undefined) expect(logged).toEqual([])
      else expect(sentence).toMatch(why)
    }
  })

  it('counts while it is decided on, so that slow decisions do not pile up', async () => {
    const decided: ((verdict: ChannelVerdict) => void)[] = []
    const server = await listen({
      clientsMax: 2,
      channels: () => new Map([['own', channelNamed('own', () => new Promise((resolve) => decided.push(resolve)))]]),
    })
    const two = [knock(`${server.url}/ws/own`), knock(`${server.url}/ws/own`)]
    await expect.poll(() => decided.length).toBe(2)
    expect((await knock(`${server.url}/ws/own`)).refused).toBe(503)
    for (const decide of decided) decide({})
    for (const answer of await Promise.all(two)) expect(answer.first).toBe('own')
  })
})

describe('The probes', () => {
  it('are on a port of their own too, in plain HTTP, and nothing else is', async () => {
    let fatal: string | undefined
    const server = await listen({ ...reached, probePort: 0, fatalReason: () => fatal })
    const base = `http://127.0.0.1:${server.probePort}`
    expect([await statusAt(`${base}/healthz`), await statusAt(`${base}/readyz`)]).toEqual([200, 200])
    for (const path of ['/', '/status', '/metrics', '/healthz/..', '/tickets']) expect(await statusAt(base + path, bearer())).toBe(404)
    expect(await statusAt(`${base}/healthz`, { method: 'POST' })).toBe(404)
    fatal = 'wrong database'
    expect([await statusAt(`${base}/healthz`), await statusAt(`${base}/readyz`)]).toEqual([503, 503])
  })

  it('answer while the other port is full', async () => {
    const server = await listen({ probePort: 0, clientsMax: 0, clientsPerAddressMax: 0 })
    const sockets: Socket[] = []
    for (let n = 0; n < 64; n++) sockets.push((await raw(server, '')).socket)
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow()
    expect(await statusAt(`http://127.0.0.1:${server.probePort}/healthz`)).toBe(200)
    for (const socket of sockets) socket.destroy()
    await expect.poll(() => statusAt(`${server.url}/healthz`).catch(() => 0)).toBe(200)
  })

  it('say which port is taken', async () => {
    const first = await listen({ probePort: 0 })
    await expect(listen({ probePort: first.probePort })).rejects.toMatchObject({
      code: 'FB_CONFIG',
      message: expect.stringContaining('node.probePort'),
    })
  })
})

describe('Connections', () => {
  it('that say nothing, or a header at a time, end', async () => {
    const server = await listen({ requestTimeoutMs: 300 })
    const silent = await raw(server, '')
    const slow = await raw(server, 'GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n')
    const drip = setInterval(() => slow.socket.write('X-A: b\r\n'), 50)
    await Promise.all([silent.answer, slow.answer])
    clearInterval(drip)
  })

  it('with headers without end are refused', async () => {
    const server = await listen()
    const long = await raw(server, `GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ${'x'.repeat(9000)}\r\n\r\n`)
    expect(await long.answer).toMatch(/^HTTP\/1\.1 431 /)
    const body = await fetch(`${server.url}/tickets`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify('x'.repeat(2000)),
    })
    expect(body.status).toBe(413)
  })

  it('are kept for five seconds and counted by address', async () => {
    const server = await listen()
    expect((await fetch(`${server.url}/status`)).headers.get('keep-alive')).toBe('timeout=5')
    const visitors = new Visitors({ connectionsPerAddressMax: 2, clientsPerAddressMax: 1, requestsPerMinuteMax: 3 }, () => 0)
    const leave = visitors.connect('fd00:1:2:3::1')!
    expect(visitors.connect('fd00:1:2:3:ffff::9')).toBeDefined()
    expect(visitors.connect('fd00:1:2:3::7')).toBeUndefined()
    expect(visitors.connect('fd00:1:2:4::1')).toBeDefined()
    leave()
    leave()
    expect(visitors.connect('fd00:1:2:3::7')).toBeDefined()
    expect(visitors.connect('fd00:1:2:3::8')).toBeUndefined()
  })

  it('are counted alike however the address is written', () => {
    expect(['::ffff:10.1.2.3', '::FFFF:0a01:0203', '10.1.2.3'].map(addressGroup)).toEqual(['10.1.2.3', '10.1.2.3', '10.1.2.3'])
    expect(['2001:db8::1', '2001:0DB8:0:0:1:2:3:4', '2001:db8:0:0::', 'fe80::1%eth0', '::1', '::'].map(addressGroup)).toEqual([
      '2001:db8:0:0::/64',
      '2001:db8:0:0::/64',
      '2001:db8:0:0::/64',
      'fe80:0:0:0::/64',
      '0:0:0:0::/64',
      '0:0:0:0::/64',
    ])
  })

  it('of very many addresses do not fill the memory with counts', () => {
    let nowMs = 0
    const visitors = new Visitors({ connectionsPerAddressMax: 1, clientsPerAddressMax: 1, requestsPerMinuteMax: 2 }, () => nowMs)
    for (let n = 0; n < 10_000; n++) expect(visitors.ask(`10.${n >> 8}.${n & 255}.1`)).toBe(true)
    expect([1, 2, 3].map((n) => visitors.ask(`11.0.0.${n}`))).toEqual([true, true, false])
    expect(visitors.ask('10.0.0.1')).toBe(true)
    nowMs = 60_000
    expect(visitors.ask('11.0.0.3')).toBe(true)
  })
})
