import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { definePipeline, json, postgresTable, webSocket } from '../../src/index.ts'
import { EventReader } from '../../src/inspect/event-facts.ts'
import { queueOf } from '../../src/ingest/converter.ts'

const event = z.object({ key: z.unknown(), n: z.number(), text: z.string().default('') })
const pipeline = definePipeline({
  name: 'facts',
  source: { topic: 't', decode: json(event) },
  key: (one) => one.key as string,
  tasks: {
    row: { every: '1s', sink: postgresTable('rows', { columns: { n: 'int', text: 'text' } }), convert: ({ n, text }) => ({ n, text }) },
    push: {
      every: '1s',
      sink: webSocket('pushes', { latestBy: (one: { key: string }) => one.key }),
      convert: ({ n }) => ({ key: `k${n}` }),
    },
  },
})
const segmentBytesMax = 16_384
const limits = { queues: 8, eventBytesMax: 1 << 20, segmentBytesMax, tracked: ['row'] }
const factsOf = (value: object, of = pipeline) =>
  new EventReader(of, of.tasks, limits, 0).facts({
    offset: 7n,
    timestampMs: 1,
    key: Buffer.from('own'),
    value: Buffer.from(JSON.stringify(value)),
  })
const jobsOf = (value: object) => factsOf(value).jobs.map(({ task, jobs, error }) => [task, jobs, error])

describe('What explain says of an event', () => {
  it('is its key, its queue and its jobs', () => {
    expect(factsOf({ key: 'a', n: 1 })).toMatchObject({ key: 'a', queue: queueOf('a', 8) })
    expect(jobsOf({ key: 'a', n: 1 })).toEqual([
      ['row', 1, null],
      ['push', 1, null],
    ])
  })

  it('is a dead letter where a node cannot encode the job', () => {
    expect(jobsOf({ key: 'a', n: 1.5 })[0]).toEqual(['row', 0, expect.stringMatching(/rows.*1\.5/)])
  })

  it('is a dead letter where the jobs do not fit into a segment beside its head', () => {
    // Less than a segment, more than what its head leaves.
    const [, , error] = jobsOf({ key: 'a', n: 1, text: 'x'.repeat(segmentBytesMax - 2000) })[0]!
    expect(error).toMatch(/more than one segment holds \(12288\)/)
    expect(jobsOf({ key: 'a', n: 1, text: 'x'.repeat(segmentBytesMax - 6000) })[0]).toEqual(['row', 1, null])
  })

  it('is a dead letter, and the key of the record, where key() gives no text', () => {
    expect(factsOf({ key: 5, n: 1 })).toMatchObject({
      key: 'own',
      jobs: [{ error: expect.stringContaining('key() returned number') as string }],
    })
  })
})
