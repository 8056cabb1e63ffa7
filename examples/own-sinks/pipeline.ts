/** Orders into two sinks that are no part of forebay: a table by SQL of one's own, and files. */
import { definePipeline, json } from 'forebay'
import * as z from 'zod'
import { auditTable } from './audit-table.ts'
import { ndjsonFile } from './ndjson-file.ts'

const order = z.object({ key: z.string(), n: z.number() })

export default definePipeline({
  name: 'own-sinks',
  source: { topic: 'orders', decode: json(order) },
  key: ({ key }) => key,
  tasks: {
    audit: { every: '15ms', sink: auditTable(), convert: ({ key, n }) => ({ key, n }) },
    archive: { every: '100ms', sink: ndjsonFile<{ key: string; n: number }>(process.env['ARCHIVE'] ?? '.'), convert: (event) => event },
  },
})
