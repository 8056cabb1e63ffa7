import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { loadPipeline } from '../../src/pipeline/load-pipeline.ts'

const folder = mkdtempSync(join(tmpdir(), 'forebay load '))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
function moduleOf(text: string, extension = '.mjs'): string {
  const file = join(folder, `pipeline ${files++}${extension}`)
  writeFileSync(file, text)
  return file
}

const task = `{ name: 't', everyMs: 1000, sink: { channel: 'c', latestBy: () => 'k' }, convert: () => undefined }`
const good = `export default { name: 'a', version: '1', source: { topic: 't', decode: { decode: (b) => b } }, tasks: [${task}] }\n`

describe('loadPipeline', () => {
  it('loads TypeScript', async () => {
    const { pipeline } = await loadPipeline(fileURLToPath(new URL('../../examples/stock-ticks/pipeline.ts', import.meta.url)))
    expect(pipeline.tasks.map(({ name }) => name)).toEqual(['storeTrade', 'pushPrice', 'minuteCandle'])
  })

  it('loads JavaScript, and tells another text by its hash', async () => {
    const [one, same, other] = await Promise.all([good, good, `${good}//\n`].map((text) => loadPipeline(moduleOf(text))))
    expect(one!.pipeline.name).toBe('a')
    expect(one!.fileHash).toMatch(/^[0-9a-f]{64}$/)
    expect(same!.fileHash).toBe(one!.fileHash)
    expect(other!.fileHash).not.toBe(one!.fileHash)
  })

  it('names file and line of what the module throws', async () => {
    const file = moduleOf('const a = 1\n\nthrow new Error(`no ${a}`)\n')
    await expect(loadPipeline(file)).rejects.toMatchObject({ code: 'FB_PIPELINE', message: `${file}:3: no 1` })
  })

  it('names file and line of a syntax error in TypeScript', async () => {
    const file = moduleOf('export const a: number = 1\nconst b = = 2\n', '.ts')
    await expect(loadPipeline(file)).rejects.toThrow(`${file}:2`)
  })

  it('refuses a default export that is no pipeline', async () => {
    const file = moduleOf('export default { tasks: [] }\n')
    await expect(loadPipeline(file)).rejects.toThrow(`${file}: the default export must be what definePipeline returns`)
  })

  it('refuses a file that is not there, and one of another kind', async () => {
    await expect(loadPipeline(join(folder, 'none.ts'))).rejects.toThrow('cannot be read (ENOENT)')
    await expect(loadPipeline(join(folder, 'a.json'))).rejects.toThrow('a pipeline module ends in .ts')
  })
})
