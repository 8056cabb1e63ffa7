/**
 * Asks a node's pages: with the token of the configuration where there is one, and over TLS with the certificates that it names.
 *
 * The token goes to nobody else: where `node.tls` is configured, only to a node that proved who it is. Node's own `fetch` takes no
 * certificates, so this asks through `node:https`.
 */
import { request as askPlain } from 'node:http'
import { request as askEncrypted, type RequestOptions } from 'node:https'
import { checkServerIdentity, rootCertificates, type PeerCertificate } from 'node:tls'
import { X509Certificate } from 'node:crypto'
import type { NodeSettings } from '../config/settings.ts'

/** What a command shows of itself at the nodes of its configuration. */
export type NodeKeys = Pick<NodeSettings['node'], 'token' | 'tls'>

export interface NodeReply {
  readonly statusCode: number
  /** What it says, parsed; undefined when that is no JSON. */
  readonly body: unknown
}

const answerBytesMax = 64 * 1024 * 1024

/** Throws what the connection throws, and a TimeoutError after `waitMs`. */
export function askPage(url: URL, keys: NodeKeys, waitMs: number): Promise<NodeReply> {
  const isEncrypted = url.protocol === 'https:'
  const isTrusted = isEncrypted || keys.tls === undefined
  const headers = keys.token === undefined || !isTrusted ? {} : { authorization: `Bearer ${keys.token}` }
  const options: RequestOptions = { headers, signal: AbortSignal.timeout(waitMs), agent: false, ...(isEncrypted ? tlsOptions(keys) : {}) }
  return new Promise((resolve, reject) => {
    const ask = isEncrypted ? askEncrypted : askPlain
    const request = ask(url, options, (response) => {
      const pieces: Buffer[] = []
      let bytes = 0
      response.on('data', (piece: Buffer) => {
        bytes += piece.length
        if (bytes > answerBytesMax) request.destroy(new Error(`its answer is longer than ${answerBytesMax} bytes`))
        else pieces.push(piece)
      })
      response.on('end', () => resolve({ statusCode: response.statusCode ?? 0, body: parsed(Buffer.concat(pieces)) }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end()
  })
}

function tlsOptions({ tls }: NodeKeys): RequestOptions {
  if (tls === undefined) return {}
  const own = new X509Certificate(tls.cert)
  return {
    ca: [...rootCertificates, tls.ca ?? tls.cert],
    // The very certificate of the configuration needs no name: a command asks its own node by 127.0.0.1.
    checkServerIdentity: (host: string, peer: PeerCertificate) => (own.raw.equals(peer.raw) ? undefined : checkServerIdentity(host, peer)),
  }
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
