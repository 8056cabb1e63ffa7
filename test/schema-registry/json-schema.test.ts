import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonSchema } from '../../src/schema-registry.ts'
import type { JsonSchemaOptions } from '../../src/schema-registry.ts'
import { SchemaRegistry, registered } from '../support/schema-registry.ts'

const registry = new SchemaRegistry()
let url = ''
let nextId = 1
beforeAll(async () => {
  url = await registry.listen()
})
afterAll(() => registry[Symbol.asyncDispose]())

async function decoded(
  schema: unknown,
  text: string,
  options: Partial<JsonSchemaOptions<unknown>> = {},
  refers: Record<string, object> = {},
) {
  const id = nextId++
  const references = Object.entries(refers).map(([name, referred]) => {
    registry.bySubject.set(`${name}/3`, { schema: JSON.stringify(referred), schemaType: 'JSON' })
    return { name, subject: name, version: 3 }
  })
  registry.byId.set(id, { schema: JSON.stringify(schema), schemaType: 'JSON', references })
  const decoder = jsonSchema({ registry: { url }, ...options })
  const value = registered(id, Buffer.from(text))
  await decoder.prepare([value])
  return decoder.decode(value)
}

const order = {
  type: 'object',
  properties: { lines: { type: 'array', items: { properties: { n: { type: 'number' } }, required: ['n'] } } },
}

describe('jsonSchema()', () => {
  it('gives what fits the schema, and names the path of what does not', async () => {
    expect(await decoded(order, '{"lines":[{"n":1}]}')).toEqual({ lines: [{ n: 1 }] })
    await expect(decoded(order, '{"lines":[{"n":1},{"n":"x"}]}')).rejects.toMatchObject({
      code: 'FB_BAD_EVENT',
      message: expect.stringMatching(/schema \d+: \/lines\/1\/n must be number/),
    })
    await expect(decoded(order, '{"lines":[{}]}')).rejects.toThrow(/\/lines\/0 must have required property 'n'/)
    await expect(decoded(order, '{')).rejects.toThrow(/not JSON/)
  })

  it.each([
    ['2020-12', { $schema: 'https://json-schema.org/draft/2020-12/schema', prefixItems: [{ type: 'string' }] }],
    ['2019-09', { $schema: 'https://json-schema.org/draft/2019-09/schema', items: [{ type: 'string' }] }],
    ['draft 7', { $schema: 'http://json-schema.org/draft-07/schema#', items: [{ type: 'string' }] }],
  ])('knows %s', async (_draft, schema) => {
    expect(await decoded(schema, '["x"]')).toEqual(['x'])
    await expect(decoded(schema, '[1]')).rejects.toThrow(/\/0 must be string/)
  })

  it('reads schemas that are referred to', async () => {
    const money = { type: 'object', required: ['cents'] }
    for (const $id of [undefined, 'https://shop/order.json']) {
      const schema = { ...($id === undefined ? {} : { $id }), properties: { price: { $ref: 'money.json' } } }
      await expect(decoded(schema, '{"price":{}}', {}, { 'money.json': money })).rejects.toThrow(
        /\/price must have required property 'cents'/,
      )
    }
    registry.byId.set(800, { schema: '{}', schemaType: 'JSON', references: [{ name: 'a', subject: 'gone', version: 1 }] })
    const decoder = jsonSchema({ registry: { url } })
    await decoder.prepare([registered(800, Buffer.from('1'))])
    expect(() => decoder.decode(registered(800, Buffer.from('1')))).toThrow(/lacks version 1 of subject gone, which schema 800 refers to/)
  })

  it('changes no number', async () => {
    await expect(decoded(order, '{"lines":[{"n":9007199254740993}]}')).rejects.toThrow(/9007199254740993 at lines\[0\]\.n would be changed/)
    expect(await decoded(order, '{"lines":[{"n":9007199254740993}]}', { numbers: 'exact' })).toEqual({ lines: [{ n: 9007199254740993n }] })
  })

  it('makes dead letters of events whose schema is none', async () => {
    await expect(decoded({ type: 'nothing' }, '1')).rejects.toMatchObject({
      code: 'FB_BAD_EVENT',
      message: expect.stringMatching(/schema \d+ cannot be used/),
    })
  })
})

describe('import of forebay', () => {
  it('loads none of the libraries of the schema registry', { timeout: 30_000 }, async () => {
    const loadedBy = async (path: string) => {
      const code = `await import(${JSON.stringify(path)})
        const { createRequire } = await import('node:module')
        const loaded = Object.keys(createRequire(import.meta.url).cache).filter((path) => /node_modules.(ajv|protobufjs|avsc)\\b/.test(path))
        console.log(loaded.length)`
      const folder = fileURLToPath(new URL('../..', import.meta.url))
      const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
        cwd: folder,
      })
      return Number(stdout)
    }
    expect(await loadedBy('./src/index.ts')).toBe(0)
    expect(await loadedBy('./src/schema-registry.ts')).toBe(0)
    expect(await loadedBy('ajv')).toBeGreaterThan(0)
  })
})
