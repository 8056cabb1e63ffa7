import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { avro, jsonSchema, protobuf } from '../../src/schema-registry.ts'
import { SchemaCache, schemasMax } from '../../src/schema-registry/schema-cache.ts'
import { makeAuthority } from '../support/certificates.ts'
import { SchemaRegistry, registered } from '../support/schema-registry.ts'

let registry: SchemaRegistry
let url: string
beforeEach(async () => {
  registry = new SchemaRegistry()
  url = await registry.listen()
  registry.byId.set(1, { schema: '"int"' })
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await registry[Symbol.asyncDispose]()
})

const event = (id: number) => registered(id, Buffer.from([2]))
const away = { code: 'FB_REGISTRY_UNREACHABLE', policy: 'retry', exitCode: 69 }

describe('a decoder with a schema registry', () => {
  it('asks once for an id, however many events, batches and partitions meet it', async () => {
    const decoder = avro({ registry: { url } })
    await Promise.all([decoder.prepare([event(1), event(1)]), decoder.prepare([event(1)])])
    await decoder.prepare([event(1)])
    expect(decoder.decode(event(1))).toBe(1)
    expect(registry.asked).toEqual(['/schemas/ids/1'])
  })

  it('is away with the registry, naming id and url, and goes on when it is back', async () => {
    await registry[Symbol.asyncDispose]()
    const decoder = avro({ registry: { url } })
    await expect(decoder.prepare([event(1)])).rejects.toMatchObject({
      ...away,
      message: expect.stringContaining(`${url}/ does not give schema 1: `),
    })
    expect(() => decoder.decode(event(1))).toThrow(expect.objectContaining(away))
    registry = new SchemaRegistry()
    registry.byId.set(1, { schema: '"int"' })
    await registry.listen(Number(new URL(url).port))
    await decoder.prepare([event(1)])
    expect(decoder.decode(event(1))).toBe(1)
  })

  it.each([
    ['an error', (status: number) => status, 500, /it answers 500/],
    ['a page that is not found', (status: number) => status, 404, /it answers 404, and not as a schema registry does/],
    ['a redirect', (status: number) => status, 302, /a redirect, which is not followed/],
    ['something else', (status: number) => status, 200, /its answer is no JSON object/],
  ])('takes %s for a registry that is away', async (_what, statusOf, status, sentence) => {
    registry.answer = (_request, response) => response.writeHead(statusOf(status), { location: 'http://127.0.0.1:1/' }).end('<html>')
    await expect(avro({ registry: { url } }).prepare([event(1)])).rejects.toMatchObject({
      ...away,
      message: expect.stringMatching(sentence),
    })
    expect(registry.asked).toHaveLength(1)
  })

  it('waits no longer than it was told, and for no endless answer', async () => {
    registry.answer = () => undefined
    await expect(avro({ registry: { url, timeoutMs: 50 } }).prepare([event(1)])).rejects.toMatchObject({
      ...away,
      message: expect.stringContaining('no answer within 50 ms'),
    })
    registry.answer = (_request, response) => {
      const more = () => {
        while (response.write(Buffer.alloc(65_536, 32)));
      }
      response.on('drain', more)
      more()
    }
    await expect(avro({ registry: { url } }).prepare([event(1)])).rejects.toMatchObject({
      ...away,
      message: expect.stringContaining('larger than 4194304 bytes'),
    })
  })

  it('makes a dead letter of an id that the registry does not know, until it knows it', async () => {
    let now = 0
    const cache = new SchemaCache(
      { schema: async (id) => (registry.byId.has(id) ? { type: 'AVRO', text: '', references: [] } : { unknown: `no schema ${id}` }) },
      () => 'reader',
      () => now,
    )
    await cache.fetch([7])
    expect(() => cache.get(7)).toThrow(expect.objectContaining({ code: 'FB_BAD_EVENT', message: 'no schema 7' }))
    registry.byId.set(7, { schema: '"int"' })
    await cache.fetch([7])
    expect(() => cache.get(7)).toThrow('no schema 7')
    now = 31_000
    await cache.fetch([7])
    expect(cache.get(7)).toBe('reader')
    const decoder = avro({ registry: { url } })
    await decoder.prepare([event(8)])
    expect(() => decoder.decode(event(8))).toThrow(
      expect.objectContaining({ code: 'FB_BAD_EVENT', message: `the schema registry at ${url}/ knows no schema 8` }),
    )
  })

  it('keeps a bounded number of schemas, those that are used', async () => {
    const cache = new SchemaCache({ schema: async () => ({ type: 'AVRO', text: '', references: [] }) }, () => 'reader')
    await cache.fetch(Array.from({ length: schemasMax }, (_, id) => id))
    cache.get(0)
    await cache.fetch([schemasMax])
    expect(cache.get(0)).toBe('reader')
    expect(() => cache.get(1)).toThrow(expect.objectContaining(away))
  })

  it('refuses what is not in the wire format, and schemas of another kind or of none', async () => {
    const decoder = avro({ registry: { url } })
    registry.byId.set(2, { schema: '{}', schemaType: 'JSON' })
    registry.byId.set(3, { schema: '{"type":"nothing"}' })
    const odd = Buffer.from('{"a":1}')
    await decoder.prepare([odd, event(2), event(3), Buffer.alloc(0)])
    const refused = (value: Buffer, message: RegExp) =>
      expect(() => decoder.decode(value)).toThrow(
        expect.objectContaining({ code: 'FB_BAD_EVENT', message: expect.stringMatching(message) }),
      )
    refused(odd, /not in the wire format of a schema registry.* it begins with 7b2261223a317d/)
    refused(Buffer.alloc(0), /it is empty/)
    refused(event(2), /schema 2 cannot be used: it is of type JSON, and this pipeline reads AVRO/)
    refused(event(3), /schema 3 cannot be used: it names a type nothing/)
    expect(decoder.decode(null)).toBe(null)
  })

  it('logs in with files that are read again, never saying what is in them', async () => {
    const file = join(tmpdir(), `forebay-registry-${process.pid}`)
    await writeFile(file, 'wrong-secret\n', { mode: 0o600 })
    registry.answer = (request, response) => {
      const isIn = request.headers.authorization === `Basic ${Buffer.from('reader:right-secret').toString('base64')}`
      response.writeHead(isIn ? 200 : 401).end('{"schema":"\\"int\\""}')
    }
    const decoder = avro({ registry: { url, user: 'reader', passwordFile: file } })
    const failure = await decoder.prepare([event(1)]).catch((error: unknown) => error as Error)
    expect(failure).toMatchObject({ code: 'FB_REGISTRY_REFUSED', policy: 'retry', exitCode: 78 })
    expect(String((failure as Error).message)).not.toContain('secret')
    await writeFile(file, 'right-secret\n')
    await decoder.prepare([event(1)])
    expect(decoder.decode(event(1))).toBe(1)
    const token = avro({ registry: { url, tokenFile: file } })
    await expect(token.prepare([event(1)])).rejects.toMatchObject({ code: 'FB_REGISTRY_REFUSED' })
    expect(registry.headers.at(-1)!.authorization).toBe('Bearer right-secret')
    await expect(avro({ registry: { url, tokenFile: `${file}.not` } }).prepare([event(1)])).rejects.toThrow(/cannot be read \(ENOENT\)/)
  })

  it('believes the authorities of caFile and no others, and reads the file again', { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'forebay-registry-tls-'))
    try {
      const [own, other] = [makeAuthority(folder, 'own'), makeAuthority(folder, 'other')]
      const { certFile, keyFile } = own.issue('127.0.0.1')
      await using secure = new SchemaRegistry({ key: readFileSync(keyFile), cert: readFileSync(certFile) })
      secure.byId.set(1, { schema: '"int"' })
      const secureUrl = await secure.listen()
      const caFile = join(folder, 'believed.pem')
      await writeFile(caFile, readFileSync(other.caFile))
      for (const files of [{}, { caFile }]) {
        const decoder = avro({ registry: { url: secureUrl, ...files } })
        await expect(decoder.prepare([event(1)])).rejects.toMatchObject({ ...away, message: expect.stringContaining('registry.caFile') })
      }
      expect(secure.asked).toEqual([])
      await writeFile(caFile, readFileSync(own.caFile))
      const decoder = avro({ registry: { url: secureUrl, caFile } })
      await decoder.prepare([event(1)])
      expect(decoder.decode(event(1))).toBe(1)
      await expect(avro({ registry: { url: secureUrl, caFile: join(folder, 'none.pem') } }).prepare([event(1)])).rejects.toThrow(/ENOENT/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('logs in with what the environment says, unless the options say otherwise', async () => {
    const asked = async (options: { user?: string; tokenFile?: string } = {}) => {
      await avro({ registry: { url, ...options } }).prepare([event(1)])
      return registry.headers.at(-1)!.authorization
    }
    const basic = (login: string) => `Basic ${Buffer.from(login).toString('base64')}`
    expect(await asked()).toBeUndefined()
    vi.stubEnv('FOREBAY_REGISTRY_USER', 'reader')
    await expect(asked()).rejects.toMatchObject({
      code: 'FB_REGISTRY_REFUSED',
      message: expect.stringContaining('FOREBAY_REGISTRY_PASSWORD'),
    })
    vi.stubEnv('FOREBAY_REGISTRY_PASSWORD', 'of:reader')
    expect(await asked()).toBe(basic('reader:of:reader'))
    expect(await asked({ user: 'other' })).toBe(basic('other:of:reader'))
    vi.stubEnv('FOREBAY_REGISTRY_TOKEN', 'a-token')
    expect(await asked()).toBe('Bearer a-token')
    expect(await asked({ user: 'other' })).toBe(basic('other:of:reader'))
    vi.stubEnv('FOREBAY_REGISTRY_TOKEN', 'a token')
    await expect(asked()).rejects.toThrow('not one line of visible characters')
  })

  it.each([
    [{ url: 'ftp://x' }, /url must begin with http/],
    [{ url: 'http://me:secret@x' }, /url holds a user or a password/],
    [{ url: 'http://x', userFile: 'y' }, /userFile is no field of it/],
    [{ url: 'http://x', user: 'a', tokenFile: 'b' }, /either user and passwordFile, or tokenFile/],
    [{ url: 'http://x', timeoutMs: 0 }, /timeoutMs must be a whole number/],
    [undefined, /say where it is/],
  ])('refuses the registry %j when the pipeline is loaded', (given, sentence) => {
    for (const make of [avro, jsonSchema, protobuf])
      expect(() => make({ registry: given as never })).toThrow(
        expect.objectContaining({ code: 'FB_PIPELINE', message: expect.stringMatching(sentence) }),
      )
  })
})
