import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { loadPipeline } from '../../src/pipeline/load-pipeline.ts'
import { ProcessSandbox } from '../../src/sandbox/process-sandbox.ts'

const folder = await mkdtemp(join(tmpdir(), 'forebay-memory-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

const pipeline = `
  import { bytes, definePipeline, postgresTable } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
  const kept = []
  const grow = () => {
    for (;;) kept.push(Buffer.alloc(16 << 20, kept.length))
  }
  export default definePipeline({
    name: 'growing',
    source: { topic: 't', decode: bytes((value) => (String(value) === 'grow' ? grow() : { n: 1 })) },
    tasks: { row: { every: '1s', sink: postgresTable('rows', { columns: { n: 'int' } }), convert: (event) => event } },
  })`

it(
  'an event that takes memory outside of the heap ends the process for suspicious events, which says so',
  { timeout: 60_000 },
  async () => {
    const pipelineFile = join(folder, 'pipeline.ts')
    await writeFile(pipelineFile, pipeline)
    const { fileHash } = await loadPipeline(pipelineFile)
    const limits = { queues: 1, eventBytesMax: 1000, segmentBytesMax: 10_000, tracked: ['row'] }
    await using sandbox = new ProcessSandbox({ pipelineFile, fileHash, tasks: ['row'], limits, eventMs: 30_000 })
    const events = ['fine', 'grow'].map((text, i) => ({ offset: BigInt(i), timestampMs: 1, key: null, value: Buffer.from(text) }))
    expect(await sandbox.convert(events, 0)).toEqual({
      died: { offset: 1n, how: 'was ended by SIGKILL (FATAL ERROR: the process held more than 1024 MiB of memory)' },
    })
    expect(await sandbox.convert(events.slice(0, 1), 0)).toMatchObject({ converted: [{ lines: [{ text: '1' }] }] })
  },
)
