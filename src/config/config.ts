/**
 * Reads the configuration: the YAML file, then the environment over it, then the defaults below both.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as z from 'zod'
import { ForebayError, sentenceOf } from '../errors.ts'
import { leafKeys, pathText, problemsOf, valueAt } from './config-issues.ts'
import type { ConfigProblem } from './config-issues.ts'
import { combinationProblems, combinationWarnings } from './config-rules.ts'
import { docOf, innermost } from './config-keys.ts'
import { configSchema } from './config-schema.ts'
import type { ConfigValues } from './config-schema.ts'
import { readSecrets } from './config-secrets.ts'
import type { ConfigSecrets } from './config-secrets.ts'
import { tlsFindings } from './config-tls.ts'
import { YamlSource } from './yaml-source.ts'
import type { KeyPath } from './yaml-source.ts'

export interface Config {
  /** The file it was read from, as it was named. */
  readonly file: string
  /** Folder of the file, absolute: what paths in it are relative to. */
  readonly folder: string
  readonly values: ConfigValues
  readonly secrets: ConfigSecrets
  /** Where each key's value is from: `file:line`, `environment NAME` or `default`. */
  readonly sources: ReadonlyMap<string, string>
  /** Where `path` is written, or what stands nearest to it: `file:line` or `environment NAME`. */
  readonly where: (path: KeyPath) => string
  /** Sentences an operator should read; nothing in them is secret. */
  readonly warnings: readonly string[]
}

/**
 * Reads and checks `file`. Throws FB_CONFIG with one line for each thing that is wrong, each with file, line, key and what
 * to do.
 */
export function loadConfig(file: string, env: NodeJS.ProcessEnv = process.env): Config {
  const source = new YamlSource(readText(file))
  const fail = (lines: readonly string[]): never => {
    throw new ForebayError('FB_CONFIG', lines.join('\n'))
  }
  if (source.problems.length > 0) fail(source.problems.map(({ line, message }) => `${file}:${line}: ${message}`))
  const { written, fromEnv } = withEnvironment(withoutNulls(source.value), env)
  const where = (path: KeyPath) => {
    const variable = fromEnv.get(path.slice(0, 2).join('.'))
    return variable === undefined ? `${file}:${source.line(path)}` : `environment ${variable}`
  }
  const inOrder = (problems: readonly ConfigProblem[]) => problems.toSorted((a, b) => source.line(a.path) - source.line(b.path))
  const sentences = (problems: readonly ConfigProblem[]) =>
    inOrder(problems).map(({ path, message }) => `${where(path)}: ${path.length === 0 ? '' : `${pathText(path)}: `}${message}`)
  const parsed = configSchema.safeParse(written)
  if (!parsed.success) return fail(sentences(problemsOf(parsed.error.issues, written)))
  const values = parsed.data
  const folder = dirname(resolve(file))
  const { secrets, problems, warnings } = readSecrets(values, folder, env)
  const isGiven = (path: KeyPath) => valueAt(written, path) !== undefined
  const tls = tlsFindings(values, folder)
  const given = { hasGridSecret: secrets.gridSecret !== undefined, hasNodeToken: secrets.nodeToken !== undefined }
  const all = [...combinationProblems(values, isGiven, given), ...tls.problems, ...problems]
  if (all.length > 0) fail(sentences(all))
  const sources = new Map(leafKeys().map(({ path }) => [path.join('.'), isGiven(path) ? where(path) : 'default']))
  return {
    file,
    folder,
    values,
    secrets,
    sources,
    where,
    warnings: [...combinationWarnings(values, given), ...tls.warnings, ...warnings],
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file; name the configuration with -c FILE' : sentenceOf(error)
    throw new ForebayError('FB_CONFIG', `${file}: ${reason}`, { cause: error })
  }
}

/**
 * A key without a value (`node:`, all below it commented out) counts as left out; but a section whose presence says something, such as
 * `tls:`, as an empty one.
 */
function withoutNulls(value: unknown, schema: z.ZodType = configSchema): unknown {
  if (value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) return value
  const inner = innermost(schema)
  const shape: Readonly<Record<string, z.ZodType | undefined>> =
    inner instanceof z.ZodObject ? (inner.shape as Record<string, z.ZodType>) : {}
  const isSaid = ([key, child]: [string, unknown]) => {
    const section = Object.hasOwn(shape, key) ? shape[key] : undefined
    return child !== null || (section instanceof z.ZodOptional && innermost(section) instanceof z.ZodObject)
  }
  const said = Object.entries(value).filter(isSaid)
  return Object.fromEntries(said.map(([key, child]) => [key, withoutNulls(child, Object.hasOwn(shape, key) ? shape[key] : z.unknown())]))
}

/** `value` with the keys that the environment overrides, and which those are. */
function withEnvironment(value: unknown, env: NodeJS.ProcessEnv): { written: unknown; fromEnv: ReadonlyMap<string, string> } {
  const fromEnv = new Map<string, string>()
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { written: value, fromEnv }
  const written: Record<string, unknown> = { ...value }
  for (const { path, schema } of leafKeys()) {
    const variable = docOf(schema).env
    const text = variable === undefined ? undefined : env[variable]
    const [section, key] = path
    if (variable === undefined || text === undefined || text === '' || section === undefined || key === undefined) continue
    const inside = written[section] ?? {}
    if (typeof inside !== 'object') continue
    written[section] = { ...inside, [key]: fromText(text, innermost(schema)) }
    fromEnv.set(path.join('.'), variable)
  }
  return { written, fromEnv }
}

function fromText(text: string, schema: z.ZodType): unknown {
  if (schema instanceof z.ZodArray) return text.split(',').map((item) => item.trim())
  return schema instanceof z.ZodNumber && /^-?\d+$/.test(text) ? Number(text) : text
}
