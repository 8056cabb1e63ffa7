/** Columns, tasks, channels and keys may be called as what every object inherits: nothing of the program is reached by them. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import * as z from 'zod'
import { definePipeline, json, postgresTable, webSocket } from '../../src/index.ts'
import { ask, postgresFeed, startNode } from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const odd = ['constructor', 'toString', 'hasOwnProperty', '__proto__', 'valueOf', '__defineGetter__']
interface Frame {
  readonly values: readonly { readonly key: string; readonly value: { readonly rest: Record<string, unknown> } }[]
}

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

const event = z.looseObject({ key: z.string(), n: z.int() })

interface Event {
  readonly key: string
  readonly n: number
  readonly [name: string]: unknown
}

/** As an author without a compiler writes it: types have their own troubles with such names. */
const definition = {
  name: 'constructor',
  source: { topic: 'prototype', decode: json(event) },
  key: ({ key }: Event) => key,
  tasks: {
    constructor: {
      every: '15ms',
      sink: postgresTable('constructor', {
        columns: { key: 'text', constructor: 'int', ['__proto__']: 'text?', toString: 'text?', valueOf: 'text?' },
      }),
      convert: ({ key, n }: Event): unknown => JSON.parse(`{"key":${JSON.stringify(key)},"constructor":${n},"__proto__":"own"}`),
    },
    toString: {
      every: '15ms',
      sink: postgresTable('hasOwnProperty', {
        columns: { toString: 'text', hasOwnProperty: 'bigint', constructor: 'text?' },
        upsertOn: ['toString'],
        merge: { hasOwnProperty: 'add' } as never,
      }),
      convert: ({ key, n }: Event) => ({ toString: key, hasOwnProperty: n }),
    },
    hasOwnProperty: {
      every: '10ms',
      sink: webSocket('constructor', { latestBy: ({ key }: { key: string }) => key }),
      convert: ({ key, n, ...rest }: Event) => ({ key, n, rest }),
    },
  },
}
const pipeline = definePipeline(definition as unknown as Parameters<typeof definePipeline>[0] as never)

it('names of data are names of data', async () => {
  await ask(
    database.url,
    `create table constructor (key text not null, constructor int not null, "__proto__" text, "toString" text, "valueOf" text);
     create table "hasOwnProperty" ("toString" text primary key, "hasOwnProperty" bigint not null, constructor text)`,
  )
  await using feed = await postgresFeed(database.url, 'prototype')
  await using node = await startNode(pipeline, { url: database.url })
  const texts = odd.map((key, n) => `{"key":${JSON.stringify(key)},"n":${n},"__proto__":{"isPolluted":true},"constructor":{"prototype":1}}`)
  for (const partition of [0, 1]) await feed.publish(partition, texts)
  await expect.poll(async () => (await ask(database.url, 'select from constructor')).length, { timeout: 20_000 }).toBe(2 * odd.length)
  const rows = await ask(
    database.url,
    'select distinct key, constructor as n, "__proto__" as proto, "toString" as text, "valueOf" as value from constructor',
  )
  expect(rows.toSorted((a, b) => a['n'] - b['n'])).toEqual(odd.map((key, n) => ({ key, n, proto: 'own', text: null, value: null })))
  const sums = `select "toString" as key, "hasOwnProperty"::int as n, constructor as c from "hasOwnProperty" order by n`
  await expect.poll(() => ask(database.url, sums), { timeout: 10_000 }).toEqual(odd.map((key, n) => ({ key, n: 2 * n, c: null })))
  expect(await ask(database.url, 'select from forebay.dead_letters')).toEqual([])

  const socket = new WebSocket(`${node.url.replace('http', 'ws')}/ws/constructor`)
  const seen = new Map<string, { rest: Record<string, unknown> }>()
  socket.on('message', (data: Buffer) => {
    for (const { key, value } of (JSON.parse(data.toString()) as Frame).values) seen.set(key, value)
  })
  await expect.poll(() => [...seen.keys()].toSorted(), { timeout: 10_000 }).toEqual(odd.toSorted())
  socket.close()

  const status = await node.status()
  expect(status.tasks.map(({ task }) => task)).toEqual(['constructor', 'toString', 'hasOwnProperty'])
  expect(Object.keys(status.latency).toSorted()).toEqual(['constructor', 'hasOwnProperty', 'toString'])
  const metrics = await (await fetch(new URL('/metrics', node.url))).text()
  for (const task of ['constructor', 'toString']) expect(metrics).toMatch(new RegExp(`^forebay_rows_total\\{label="${task}"\\} 12$`, 'm'))
  expect(({} as { isPolluted?: boolean }).isPolluted).toBeUndefined()
  await node.stop()
})
