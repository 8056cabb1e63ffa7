import net from 'node:net'
import tls from 'node:tls'
import type { ISocketFactory } from 'kafkajs'
import type { TlsIdentity } from '../database/tls-identity.ts'
import { hungUpCode, tlsWantedCode } from '../database/tls-refusal.ts'

const keepAliveMs = 60_000
const tlsAlert = 0x15
const tlsMajor = 0x03

/**
 * Makes the sockets of a Kafka client: plain, or TLS with `identity`. Where a broker speaks TLS and the client does not, or the
 * other way round, kafkajs would wait for an answer of 352 MB or see no more than a reset; here the error says so by its code.
 */
export function kafkaSockets(identity: TlsIdentity | undefined): ISocketFactory {
  return ({ host, port, onConnect }) => {
    const socket = identity === undefined ? plain(host, port, onConnect) : encrypted(host, port, onConnect, identity)
    socket.setKeepAlive(true, keepAliveMs)
    return socket
  }
}

function plain(host: string, port: number, onConnect: () => void): net.Socket {
  const socket = net.connect({ host, port }, onConnect)
  socket.once('data', (first: Buffer) => {
    if (first[0] === tlsAlert && first[1] === tlsMajor)
      socket.destroy(Object.assign(new Error('the broker answered with a TLS alert'), { code: tlsWantedCode }))
  })
  return socket
}

function encrypted(host: string, port: number, onConnect: () => void, { secureContext, serverName }: TlsIdentity): net.Socket {
  const servername = serverName ?? (net.isIP(host) === 0 ? host : undefined)
  const socket = tls.connect({ host, port, secureContext, ...(servername === undefined ? {} : { servername }) }, onConnect)
  let isConnected = false
  socket.once('connect', () => (isConnected = true))
  // Heard before kafkajs hears it, which takes the code along.
  socket.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET' && isConnected && !socket.authorized) error.code = hungUpCode
  })
  return socket
}
