/**
 * The documented preset, config/forebay.yaml, made from the schema: every key with what it means, its default and the
 * environment variable that overrides it.
 */
import { stringify } from 'yaml'
import * as z from 'zod'
import { docOf, innermost } from './config-keys.ts'
import { configSchema } from './config-schema.ts'
import { secretEnv } from './config-secrets.ts'

/** Keys that the preset sets although they have no default, or another one. */
const presetValues: Readonly<Record<string, unknown>> = {
  pipeline: '../examples/stock-ticks/pipeline.ts',
  'events.brokers': ['127.0.0.1:9092'],
}

const widthMax = 120

/** The text of config/forebay.yaml. */
export function configDocument(): string {
  const intro = [
    'A node of forebay, with every key it knows. A key that is commented out has no default; the others show theirs.',
    'Durations are a number and ms, s, m or h; sizes a number and B, KiB, MiB or GiB. Paths are relative to this file.',
    'Every key is read once, when the node starts: a change needs a restart, and none is reloadable.',
    `Secrets are never written here. They come from files or from ${Object.values(secretEnv).join(', ')}.`,
    'Check a changed file with `forebay check-config -c FILE`.',
  ]
  return `${[...intro.map((line) => `# ${line}`), ...sectionLines(configSchema, [])].join('\n')}\n`
}

function sectionLines(schema: z.ZodObject, path: readonly string[]): string[] {
  const lines = Object.entries(schema.shape).flatMap(([key, child]) => ['', ...keyLines(child as z.ZodType, [...path, key])])
  return path.length === 0 ? lines : lines.slice(1)
}

function keyLines(schema: z.ZodType, path: readonly string[]): string[] {
  const indent = '  '.repeat(path.length - 1)
  const key = path.at(-1)!
  const doc = docOf(schema)
  const inner = innermost(schema)
  const hints = [doc.env === undefined ? '' : ` [${doc.env}]`]
  const comment = wrapped(`${doc.description}${hints.join('')}`, widthMax - indent.length - 2).map((line) => `${indent}# ${line}`)
  if (inner instanceof z.ZodObject) {
    const isOptional = schema instanceof z.ZodOptional
    const body = [`${indent}${key}:`, ...sectionLines(inner, path)]
    return [...comment, ...(isOptional ? body.map((line) => commentedOut(line, indent)) : body)]
  }
  const preset = presetValues[path.join('.')] ?? (isEmptyList(doc.default) ? undefined : doc.default)
  const value = stringify({ [key]: preset ?? doc.example }, { flowCollectionPadding: false, collectionStyle: 'flow', lineWidth: 0 })
  const line = value.trim().replace(/^\{(.*)\}$/s, '$1')
  return [...comment, preset === undefined ? `${indent}# ${line}` : `${indent}${line}`]
}

/** Comments and keys alike lie one step deeper, so that taking `# ` away uncovers valid YAML. */
function commentedOut(line: string, indent: string): string {
  return line === '' ? '' : `${indent}# ${line.slice(indent.length)}`
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}

function wrapped(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}
