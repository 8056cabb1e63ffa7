/** One schema in each library that the README names, and what each does with events that do not fit, come late or throw. */
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import * as z3 from 'zod3'
import * as z from 'zod'
import { json } from '../../src/index.ts'
import type { JsonDecoder, StandardSchema } from '../../src/index.ts'
import { avro } from '../../src/schema-registry.ts'

const whole = (value: unknown) => typeof value === 'bigint' || Number.isInteger(value)

const libraries: readonly [string, StandardSchema, StandardSchema, StandardSchema][] = [
  [
    'zod 4',
    z.object({ symbol: z.string(), legs: z.array(z.object({ size: z.number() })) }),
    z.object({ size: z.custom(whole) }),
    z.object({ symbol: z.string().refine(() => Promise.resolve(true)) }),
  ],
  [
    'zod 3.25',
    z3.object({ symbol: z3.string(), legs: z3.array(z3.object({ size: z3.number() })) }),
    z3.object({ size: z3.custom(whole) }),
    z3.object({ symbol: z3.string().refine(() => Promise.resolve(true)) }),
  ],
  [
    'valibot',
    v.object({ symbol: v.string(), legs: v.array(v.object({ size: v.number() })) }),
    v.object({ size: v.custom(whole) }),
    v.objectAsync({
      symbol: v.pipeAsync(
        v.string(),
        v.checkAsync(() => Promise.resolve(true)),
      ),
    }),
  ],
  [
    'arktype',
    type({ symbol: 'string', legs: [{ size: 'number' }, '[]'] }),
    type({ size: 'number | bigint' }),
    { '~standard': { version: 1, validate: (value: unknown) => Promise.resolve({ value }) } },
  ],
]

function failureOf(decoder: JsonDecoder<unknown>, text: string): string {
  try {
    decoder.decode(Buffer.from(text))
  } catch (error) {
    expect(error).toMatchObject({ code: 'FB_BAD_EVENT' })
    return (error as Error).message
  }
  throw new Error('it was decoded')
}

describe.each(libraries)('json of a schema of %s', (_, schema, exact, late) => {
  it('gives the event', () => {
    expect(json(schema).decode(Buffer.from('{"symbol":"SPY","legs":[{"size":1}]}'))).toEqual({ symbol: 'SPY', legs: [{ size: 1 }] })
  })

  it('names the path of what does not fit', () => {
    const message = failureOf(json(schema), '{"symbol":7,"legs":[{"size":1},{"size":"x"}]}')
    expect(message).toMatch(/^the event does not fit the schema: /)
    expect(message).toMatch(/[:;] symbol: (?!symbol).*string/)
    expect(message).toMatch(/[:;] legs\[1\]\.size: (?!legs).*number/)
    expect(failureOf(json(schema), 'null')).toMatch(/the whole value: .*object/i)
  })

  it('is never shown a number that JSON changed, and is given exact ones where it wants them', () => {
    expect(failureOf(json(exact), '{"size":9007199254740993}')).toContain('the number 9007199254740993 at size would be changed')
    expect(json(exact, { numbers: 'exact' }).decode(Buffer.from('{"size":9007199254740993}'))).toEqual({ size: 9007199254740993n })
    expect(failureOf(json(schema), '{"symbol":"SPY","legs":[{"size":1e400}]}')).toContain('at legs[0].size')
  })

  it('refuses a promise: an event is decoded at once', () => {
    expect(failureOf(json(late), '{"symbol":"SPY"}')).toMatch(/^the schema gave a promise, but an event is decoded at once: take out/)
  })
})

describe('json', () => {
  it('hears nothing of a promise that fails later', async () => {
    const failing = { '~standard': { version: 1 as const, validate: () => Promise.reject(new Error('late')) } }
    expect(failureOf(json(failing), '1')).toContain('gave a promise')
    await new Promise((resolve) => setImmediate(resolve))
  })

  it.each([[undefined], [null], [{ symbol: 'string' }], [{ '~standard': {} }], ['text']])(
    'refuses %s as a schema, when the pipeline is defined',
    (schema) => {
      expect(() => json(schema as never)).toThrow(
        expect.objectContaining({ code: 'FB_PIPELINE', message: expect.stringContaining('Standard Schema') }),
      )
      if (schema === undefined) return
      expect(() => avro({ registry: { url: 'http://localhost' }, schema: schema as never })).toThrow(
        expect.objectContaining({ code: 'FB_PIPELINE' }),
      )
    },
  )
})

describe('The public API', () => {
  it('reaches no zod by any import, of types neither', () => {
    const src = fileURLToPath(new URL('../../src', import.meta.url))
    const seen = new Set<string>()
    const withZod: string[] = []
    const follow = (file: string): void => {
      if (seen.has(file)) return
      seen.add(file)
      const specifiers = [...readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name]) => name!)
      if (specifiers.some((name) => name === 'zod' || name.startsWith('zod/'))) withZod.push(relative(src, file))
      for (const name of specifiers) if (name.startsWith('.')) follow(join(dirname(file), name))
    }
    for (const entry of ['index.ts', 'schema-registry.ts']) follow(join(src, entry))
    expect(seen.size).toBeGreaterThan(20)
    expect(withZod).toEqual([])
  })
})
