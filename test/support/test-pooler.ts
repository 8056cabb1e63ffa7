/**
 * A pooler over a real Postgres, as pgbouncer is one: clients log in with process numbers of its own, take no setting at the login but the
 * usual, and get a connection of the server for their session, or for one transaction at a time, the most recently used first.
 */
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export interface TestPooler extends AsyncDisposable {
  readonly url: string
}

interface ServerSide {
  readonly socket: Socket
  take: (message: Buffer) => void
}

const loginSettings = ['user', 'database', 'client_encoding', 'datestyle', 'timezone', 'application_name', 'standard_conforming_strings']
/** Connections to the server that are kept. */
const serversMax = 8

export async function startPooler(url: string, mode: 'session' | 'transaction'): Promise<TestPooler> {
  const target = new URL(url)
  const idle: ServerSide[] = []
  const waiting: ((server: ServerSide) => void)[] = []
  const sockets = new Set<Socket>()
  let servers = 0
  const free = (server: ServerSide) => {
    const next = waiting.shift()
    if (next === undefined) idle.push(server)
    else next(server)
  }
  const take = () => new Promise<ServerSide>((resolve) => (idle.length > 0 ? resolve(idle.pop()!) : waiting.push(resolve)))
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    return socket
  }

  const accept = (client: Socket) => {
    let server: ServerSide | undefined
    let isAsking = false
    let pending: Buffer[] = []
    const own = keep(connect(Number(target.port), target.hostname))
    const side: ServerSide = { socket: own, take: () => undefined }
    own.on(
      'data',
      messagesOf((message) => side.take(message), false),
    )
    const answer = (message: Buffer) => {
      client.write(message)
      if (mode === 'transaction' && message[0] === 90 && message[5] === 73 && pending.length === 0 && server !== undefined) {
        const done = server
        server = undefined
        done.take = () => undefined
        free(done)
      }
    }
    // The login is the server's own, but for the process number.
    side.take = (message) => {
      if (message[0] === 75) message.writeInt32BE(1_000_000 + Math.floor(Math.random() * 1e6), 5)
      client.write(message)
      if (message[0] !== 90) return
      side.take = answer
      if (mode === 'session') return void (server = side)
      if (servers++ < serversMax) idle.unshift(side)
      else own.destroy()
      isReady = true
    }
    let isReady = mode === 'session'
    let isGone = false
    /** A connection that a client left in a transaction is not lent again. */
    const drop = () => {
      if (server === undefined) return
      server.socket.destroy()
      server = undefined
      servers--
    }
    const send = async () => {
      if (server === undefined && !isAsking) {
        isAsking = true
        server = await take()
        server.take = answer
        isAsking = false
        if (isGone) return drop()
      }
      if (server === undefined) return
      for (const message of pending) server.socket.write(message)
      pending = []
    }
    let isFirst = true
    client.on(
      'data',
      messagesOf((message) => {
        if (isFirst) {
          isFirst = false
          const names = message
            .subarray(8)
            .toString()
            .split('\0')
            .filter((_, i) => i % 2 === 0 && i >= 0)
          const strange = names.find((name) => name !== '' && !loginSettings.includes(name.toLowerCase()))
          if (strange !== undefined) return void client.end(refusal(`unsupported startup parameter: ${strange}`))
        }
        if (!isReady || mode === 'session') return void own.write(message)
        if (message[0] === 88) return void client.end()
        pending.push(message)
        void send()
      }, true),
    )
    client.on('close', () => {
      isGone = true
      if (mode === 'session' || !isReady) own.destroy()
      else drop()
    })
  }
  const listener = createServer((client) => accept(keep(client)))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  target.port = String((listener.address() as AddressInfo).port)
  target.hostname = '127.0.0.1'
  const upstream = new URL(url)
  target.search = upstream.search
  const pooled = target.href
  target.port = upstream.port
  target.hostname = upstream.hostname
  return {
    url: pooled,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

/** Cuts a stream into whole messages; the first one of a client has no type. */
function messagesOf(take: (message: Buffer) => void, isClient: boolean): (data: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  let typed = isClient ? 0 : 1
  return (data) => {
    rest = Buffer.concat([rest, data])
    for (;;) {
      if (rest.length < typed + 4) return
      const end = typed + rest.readInt32BE(typed)
      if (rest.length < end) return
      const message = Buffer.from(rest.subarray(0, end))
      rest = rest.subarray(end)
      typed = 1
      take(message)
    }
  }
}

function refusal(sentence: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C08P01\0M${sentence}\0\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}
