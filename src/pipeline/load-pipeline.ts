/**
 * Loads a pipeline module: TypeScript through tsx, JavaScript as it is.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ForebayError, sentenceOf } from '../errors.ts'
import { stackOf } from '../thrown.ts'
import type { Pipeline } from './pipeline.ts'

export interface LoadedPipeline {
  readonly pipeline: Pipeline
  /** SHA-256 of the module's own file, to notice a change under an unchanged version. */
  readonly fileHash: string
}

const typescript = ['.ts', '.mts', '.cts']
const javascript = ['.js', '.mjs', '.cjs']

/** Throws FB_PIPELINE with file and, where the module itself failed, line. */
export async function loadPipeline(file: string): Promise<LoadedPipeline> {
  const extension = extname(file)
  if (!typescript.includes(extension) && !javascript.includes(extension)) {
    throw new ForebayError('FB_PIPELINE', `${file}: a pipeline module ends in ${[...typescript, ...javascript].join(', ')}`)
  }
  const fileHash = hashOf(file)
  const exported = await importDefault(file, typescript.includes(extension))
  if (!isPipeline(exported)) throw new ForebayError('FB_PIPELINE', `${file}: the default export must be what definePipeline returns`)
  // A copy of forebay from before cron tasks gives none.
  return { pipeline: { ...exported, cron: exported.cron ?? [] }, fileHash }
}

function hashOf(file: string): string {
  try {
    return createHash('sha256').update(readFileSync(file)).digest('hex')
  } catch (error) {
    throw new ForebayError('FB_PIPELINE', `${file}: the pipeline module cannot be read (${(error as NodeJS.ErrnoException).code})`, {
      cause: error,
    })
  }
}

async function importDefault(file: string, isTypescript: boolean): Promise<unknown> {
  const url = pathToFileURL(file).href
  process.setSourceMapsEnabled(true)
  try {
    const module = (isTypescript ? await importTypescript(url) : await import(url)) as { default?: unknown }
    // A CommonJS module arrives wrapped once more.
    const { default: inner } = (module.default ?? {}) as { default?: unknown }
    return inner ?? module.default
  } catch (error) {
    throw new ForebayError('FB_PIPELINE', `${placeOf(error, file)}: ${sentenceOf(error)}`, { cause: error })
  }
}

async function importTypescript(url: string): Promise<unknown> {
  const { tsImport } = await import('tsx/esm/api')
  // A pipeline finds forebay as its package.json says; run from its sources, forebay's own tsconfig leads there instead.
  const tsconfig = import.meta.url.endsWith('.ts') ? fileURLToPath(new URL('../../tsconfig.json', import.meta.url)) : false
  return tsImport(url, { parentURL: import.meta.url, tsconfig })
}

/** `file:line` of the topmost frame that lies in the module, else the file. */
function placeOf(error: unknown, file: string): string {
  const stack = stackOf(error)
  for (const [, url, line] of stack.matchAll(/(file:\/\/[^\s?()]+)(?:\?[^\s:()]*)?:(\d+):\d+/g)) {
    if (fileURLToPath(url!) === file) return `${file}:${line}`
  }
  const [, line] =
    stack
      .split('\n')
      .flatMap((text) => (text.includes(file) ? [/:(\d+)(?::\d+)?(?!\d)/.exec(text.slice(text.indexOf(file) + file.length))] : []))[0] ?? []
  return line === undefined ? file : `${file}:${line}`
}

/** A module may hold a copy of forebay of its own, so the shape counts, not the class. */
function isPipeline(value: unknown): value is Omit<Pipeline, 'cron'> & Partial<Pick<Pipeline, 'cron'>> {
  if (typeof value !== 'object' || value === null) return false
  const { name, version, source, tasks, cron } = value as Partial<Pipeline>
  return (
    typeof name === 'string' &&
    typeof version === 'string' &&
    typeof source === 'object' &&
    Array.isArray(tasks) &&
    (cron === undefined || Array.isArray(cron)) &&
    tasks.every((task) => typeof task.everyMs === 'number')
  )
}
