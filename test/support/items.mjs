/**
 * The pipeline of small items: of nodes in this process, and by the modules beside it of those in processes of their own, which load
 * JavaScript twice as fast as TypeScript.
 */
import { definePipeline, json, postgresTable, webSocket } from 'forebay'
import * as z from 'zod'

const itemSchema = z.object({ key: z.string(), n: z.int(), mode: z.string().optional(), pad: z.string().optional() })

export function itemsPipeline({ name = 'items', topic, version = '1', prefix = '' }) {
  return definePipeline({
    name,
    version,
    source: { topic, decode: json(itemSchema) },
    key: (event) => {
      if (event.mode === 'bad key') throw new Error('this one has no key')
      return event.key
    },
    tasks: {
      item: {
        every: '15ms',
        sink: postgresTable(`${prefix}items`, {
          columns: { source_partition: 'int', source_offset: 'bigint', item_key: 'text', n: 'int', made_by: 'text' },
        }),
        convert: (event, at) => {
          if (event.mode === 'bad convert') throw new Error('this one cannot be converted')
          return { source_partition: at.partition, source_offset: at.offset, item_key: event.key, n: event.n, made_by: version }
        },
      },
      total: {
        every: '60ms',
        sink: postgresTable(`${prefix}totals`, {
          columns: { item_key: 'text', events: 'bigint', total: 'bigint', last_n: 'int' },
          upsertOn: ['item_key'],
          merge: { events: 'add', total: 'add', last_n: 'last' },
        }),
        convert: (event) => ({ item_key: event.key, events: 1, total: event.n, last_n: event.n }),
      },
      latest: {
        every: '10ms',
        sink: webSocket('latest', { latestBy: (event) => event.key }),
        convert: ({ key, n }) => ({ key, n }),
      },
    },
  })
}
