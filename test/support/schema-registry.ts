/** A schema registry for tests: the REST paths of Confluent's, over real HTTP. */
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface RegisteredSchema {
  readonly schema: string
  readonly schemaType?: 'AVRO' | 'JSON' | 'PROTOBUF'
  readonly references?: readonly { readonly name: string; readonly subject: string; readonly version: number }[]
}

export class SchemaRegistry {
  readonly asked: string[] = []
  readonly headers: IncomingMessage['headers'][] = []
  readonly byId = new Map<number, RegisteredSchema>()
  /** `subject/version`. */
  readonly bySubject = new Map<string, RegisteredSchema>()
  /** Answers instead, when it is given. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | undefined
  readonly #isTls: boolean
  readonly #server: ReturnType<typeof createServer>

  /** `tls`: key and certificate, in PEM. */
  constructor(tls?: { readonly key: Buffer; readonly cert: Buffer }) {
    const serve = (request: IncomingMessage, response: ServerResponse) => this.#serve(request, response)
    this.#isTls = tls !== undefined
    this.#server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve)
  }

  /** At `port`, or a free one. */
  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    return `${this.#isTls ? 'https' : 'http'}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!
    this.asked.push(path)
    this.headers.push(request.headers)
    if (this.answer !== undefined) return this.answer(request, response)
    const [, id] = /^\/schemas\/ids\/(\d+)$/.exec(path) ?? []
    const [, subject, version] = /^\/subjects\/([^/]+)\/versions\/(\d+)$/.exec(path) ?? []
    const found = id === undefined ? this.bySubject.get(`${decodeURIComponent(subject ?? '')}/${version}`) : this.byId.get(Number(id))
    response.setHeader('content-type', 'application/vnd.schemaregistry.v1+json')
    if (found !== undefined) return void response.end(JSON.stringify(found))
    response.statusCode = 404
    response.end(JSON.stringify({ error_code: id === undefined ? 40401 : 40403, message: 'not found' }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}

/** In the wire format. */
export function registered(id: number, payload: Buffer | Uint8Array): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, payload])
}
