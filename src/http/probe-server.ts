/**
 * `/healthz` and `/readyz` on a port of their own, so that no crowd at the pages can make a node look dead.
 *
 * Plain HTTP whatever the pages speak, no token and no Host asked: it tells whether the node is well, and nothing else to anybody.
 */
import { createServer, type Server } from 'node:http'
import { ForebayError, sentenceOf } from '../errors.ts'

/** What the node answers to a probe. */
export type Probes = (path: string) => { readonly statusCode: number; readonly body: object }

const connectionsMax = 64
const answerMs = 5000

export class ProbeServer implements AsyncDisposable {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** Throws FB_CONFIG when the address cannot be had. */
  static async listen(host: string, port: number, probes: Probes): Promise<ProbeServer> {
    const options = {
      requestTimeout: answerMs,
      headersTimeout: answerMs,
      keepAliveTimeout: answerMs,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: 8192,
    }
    const server = createServer(options, (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0]!
      const isKnown = (path === '/healthz' || path === '/readyz') && (request.method === 'GET' || request.method === 'HEAD')
      const { statusCode, body } = isKnown ? probes(path) : { statusCode: 404, body: { message: 'Only /healthz and /readyz are here.' } }
      response.writeHead(statusCode, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
    })
    server.maxConnections = connectionsMax
    server.setTimeout(answerMs)
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(
          new ForebayError(
            'FB_CONFIG',
            `The probes cannot listen on ${host}:${port}: ${sentenceOf(cause)}. Choose another node.probePort.`,
            { cause },
          ),
        ),
      )
      server.listen(port, host, resolve)
    })
    return new ProbeServer(server)
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address ? address.port : 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}
