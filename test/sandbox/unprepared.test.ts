import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { loadPipeline } from '../../src/pipeline/load-pipeline.ts'
import { ProcessSandbox } from '../../src/sandbox/process-sandbox.ts'

const folder = await mkdtemp(join(tmpdir(), 'forebay-unprepared-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Its decoder gets what it needs at the second attempt. */
const pipeline = `
  import { ForebayError, definePipeline, postgresTable } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
  let attempts = 0
  const decode = {
    prepare: async () => {
      if (++attempts === 1) throw new ForebayError('FB_REGISTRY_UNREACHABLE', 'Schema 7 cannot be fetched.')
    },
    decode: (value) => ({ n: value.length * attempts }),
  }
  export default definePipeline({
    name: 'unprepared',
    source: { topic: 't', decode },
    tasks: { row: { every: '1s', sink: postgresTable('rows', { columns: { n: 'int' } }), convert: (event) => event } },
  })`

it('a process for suspicious events that cannot fetch what its decoder needs blames no event, and goes on when it can', async () => {
  const pipelineFile = join(folder, 'pipeline.ts')
  await writeFile(pipelineFile, pipeline)
  const { fileHash } = await loadPipeline(pipelineFile)
  const limits = { queues: 1, eventBytesMax: 1000, segmentBytesMax: 10_000, tracked: ['row'] }
  await using sandbox = new ProcessSandbox({ pipelineFile, fileHash, tasks: ['row'], limits, eventMs: 30_000 })
  const events = [{ offset: 5n, timestampMs: 1, key: null, value: Buffer.from('abc') }]
  await expect(sandbox.convert(events, 0)).rejects.toMatchObject({
    code: 'FB_REGISTRY_UNREACHABLE',
    message: 'Schema 7 cannot be fetched.',
  })
  expect(await sandbox.convert(events, 0)).toMatchObject({ converted: [{ lines: [{ section: 0, text: '6' }] }] })
}, 60_000)
