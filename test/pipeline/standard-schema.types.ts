/**
 * The event that `json` and the decoders of a schema registry give, by each library. Never run: the type check fails when a line
 * below stops being right.
 */
import { type } from 'arktype'
import * as v from 'valibot'
import * as z3 from 'zod3'
import * as z from 'zod'
import * as z4mini from 'zod/mini'
import { definePipeline, json, postgresTable } from '../../src/index.ts'
import type { JsonDecoder } from '../../src/index.ts'
import { avro } from '../../src/schema-registry.ts'

interface Trade {
  symbol: string
  size: number
  note?: string | undefined
}

type EventOf<Decoder> = Decoder extends { readonly decode: (bytes: Buffer | null) => infer Event } ? Event : never
type IsSame<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_ extends true>(): void => undefined

const fromZod = json(z.object({ symbol: z.string(), size: z.coerce.number(), note: z.string().optional() }))
const fromMini = json(z4mini.object({ symbol: z4mini.string(), size: z4mini.number(), note: z4mini.optional(z4mini.string()) }))
const fromZod3 = json(z3.object({ symbol: z3.string(), size: z3.coerce.number(), note: z3.string().optional() }))
const fromValibot = json(v.object({ symbol: v.string(), size: v.number(), note: v.optional(v.string()) }))
const fromArktype = json(type({ symbol: 'string', size: 'number', 'note?': 'string | undefined' }))

for (const decoder of [fromZod, fromMini, fromZod3, fromValibot, fromArktype]) decoder satisfies JsonDecoder<Trade>
holds<IsSame<EventOf<typeof fromZod>, Trade>>()
holds<IsSame<EventOf<typeof fromMini>, Trade>>()
holds<IsSame<EventOf<typeof fromZod3>['size'], number>>()
holds<IsSame<EventOf<typeof fromValibot>, Trade>>()
holds<IsSame<EventOf<typeof fromArktype>['symbol'], string>>()

// The output of a transform, not what goes into it.
holds<IsSame<EventOf<ReturnType<typeof fromTransforms>>, number>>()
const fromTransforms = () => json(z3.string().transform((text) => text.length))
holds<IsSame<EventOf<ReturnType<typeof fromPipe>>, number>>()
const fromPipe = () => json(v.pipe(v.string(), v.transform((text) => text.length)))
holds<IsSame<EventOf<ReturnType<typeof fromMorph>>, number>>()
const fromMorph = () => json(type('string').pipe((text) => text.length))

const registry = { url: 'http://localhost:8081' }
avro({ registry, schema: z3.object({ symbol: z3.string(), size: z3.number() }) }) satisfies { decode: (bytes: Buffer | null) => { size: number } }
avro({ registry, schema: v.object({ symbol: v.string(), size: v.number() }) }) satisfies { decode: (bytes: Buffer | null) => { size: number } }
avro({ registry, schema: type({ symbol: 'string', size: 'number' }) }) satisfies { decode: (bytes: Buffer | null) => { size: number } }

const sink = postgresTable('t', { columns: { symbol: 'text', size: 'bigint' } })
definePipeline({ name: 'x', source: { topic: 'x', decode: fromZod3 }, tasks: { a: { every: '1s', sink, convert: ({ symbol, size }) => ({ symbol, size }) } } })
definePipeline({ name: 'x', source: { topic: 'x', decode: fromValibot }, tasks: { a: { every: '1s', sink, convert: ({ symbol, size }) => ({ symbol, size }) } } })
definePipeline({ name: 'x', source: { topic: 'x', decode: fromArktype }, tasks: { a: { every: '1s', sink, convert: ({ symbol, size }) => ({ symbol, size }) } } })
// @ts-expect-error a field that the valibot schema does not have
definePipeline({ name: 'x', source: { topic: 'x', decode: fromValibot }, tasks: { a: { every: '1s', sink, convert: ({ symbl, size }) => ({ symbol: symbl, size }) } } })
// @ts-expect-error a field that the arktype schema does not have
definePipeline({ name: 'x', source: { topic: 'x', decode: fromArktype }, tasks: { a: { every: '1s', sink, convert: ({ symbl, size }) => ({ symbol: symbl, size }) } } })
// @ts-expect-error an optional text in a column that is not nullable
definePipeline({ name: 'x', source: { topic: 'x', decode: fromZod3 }, tasks: { a: { every: '1s', sink, convert: ({ note, size }) => ({ symbol: note, size }) } } })
// @ts-expect-error no schema
json({ symbol: 'string' })
