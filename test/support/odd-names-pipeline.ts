/** Everything that has a name is called as what every object inherits, or holds what a terminal takes for a command. */
import * as z from 'zod'
import { definePipeline, json, postgresTable, webSocket } from 'forebay'

const event = z.looseObject({ key: z.string(), n: z.int() })
type Event = z.infer<typeof event>

/** Clears the screen of a terminal, in three notations. */
export const clearing = '\u001b[2J\u009b2J\u0007\u007f'

const definition = {
  name: 'constructor',
  source: { topic: 'prototype', decode: json(event) },
  key: ({ key }: Event) => key,
  tasks: {
    constructor: {
      every: '15ms',
      sink: postgresTable('constructor', { columns: { toString: 'text', ['__proto__']: 'int', [`wide${clearing}`]: 'text?' } }),
      convert: ({ key, n }: Event) => {
        if (n < 0) throw new Error(`refused${clearing}`)
        return JSON.parse(`{"toString":${JSON.stringify(key)},"__proto__":${n}}`) as unknown
      },
    },
    toString: {
      every: '15ms',
      sink: postgresTable('hasOwnProperty', {
        columns: { toString: 'text', hasOwnProperty: 'bigint' },
        upsertOn: ['toString'],
        merge: { hasOwnProperty: 'add' } as never,
      }),
      convert: ({ key, n }: Event) => ({ toString: key, hasOwnProperty: n }),
    },
    valueOf: {
      every: '10ms',
      sink: webSocket('constructor', { latestBy: ({ key }: { key: string }) => key }),
      convert: ({ key, n }: Event) => ({ key, n }),
    },
  },
}

export default definePipeline(definition as unknown as Parameters<typeof definePipeline>[0] as never)
