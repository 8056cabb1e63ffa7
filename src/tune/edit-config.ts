/**
 * Puts values into the text of a configuration file. Only what changes is touched: the file is parsed to find the place, and the text is
 * edited there, since writing a parsed document anew moves comments. Pure.
 */
import { isMap, isScalar, isSeq, parseDocument, stringify } from 'yaml'
import type { Document, Node, YAMLMap } from 'yaml'
import { must } from '../assert.ts'
import { ForebayError } from '../errors.ts'

export interface ConfigEdit {
  readonly path: readonly string[]
  readonly value: string | number
}

/** What an edit does to the file; `before` is null for a key that was not there. */
export interface ConfigChange extends ConfigEdit {
  readonly before: string | number | null
}

const indentStep = 2

/** The new text, and the edits that change something. Throws FB_CONFIG when the text is no YAML, or has something else where a section should be. */
export function editConfig(
  text: string,
  edits: readonly ConfigEdit[],
): { readonly text: string; readonly changes: readonly ConfigChange[] } {
  const changes: ConfigChange[] = []
  let edited = text
  for (const { path, value } of edits) {
    const document = parsed(edited)
    const before = document.hasIn(path) ? (document.getIn(path) as unknown) : null
    if (before === value) continue
    edited = withValue(edited, document, { path, value })
    if (parsed(edited).getIn(path) !== value)
      throw new ForebayError(
        'FB_CONFIG',
        `${path.join('.')} cannot be put into this file by itself; write ${stringify(value).trim()} there by hand`,
      )
    changes.push({ path, value, before: typeof before === 'string' || typeof before === 'number' ? before : null })
  }
  return { text: edited, changes }
}

function parsed(text: string): Document {
  const document = parseDocument(text, { version: '1.2', merge: false, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined)
    throw new ForebayError('FB_CONFIG', `the configuration is no YAML (${error.message}); check it with forebay check-config`)
  return document as Document
}

function withValue(text: string, document: Document, { path, value }: ConfigEdit): string {
  if (document.contents === null) return `${endedLine(text)}${blockOf(path, value, 0)}`
  for (let depth = path.length; depth >= 0; depth--) {
    const node: unknown = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true)
    if (node === undefined || node === null) continue
    const rest = path.slice(depth)
    if (isScalar(node) && (rest.length === 0 || node.value === null)) {
      const [start, end] = rangeOf(node)
      if (rest.length === 0 && node.value !== null) return spliced(text, start, end, stringify(value).trim())
      return rest.length === 0
        ? spliced(text, start, start, ` ${stringify(value).trim()}`)
        : belowKey(text, document, path.slice(0, depth), { path: rest, value })
    }
    if (isMap(node) && rest.length > 0)
      return node.flow === true ? inFlow(text, node, { path: rest, value }) : inBlock(text, node, { path: rest, value })
    throw new ForebayError(
      'FB_CONFIG',
      `${path.slice(0, depth).join('.')} is no section in the configuration; check it with forebay check-config`,
    )
  }
  throw new ForebayError('FB_CONFIG', 'the configuration is no list of keys; check it with forebay check-config')
}

/** Behind the last entry of the section; comments that follow it stay behind. */
function inBlock(text: string, map: YAMLMap, { path, value }: ConfigEdit): string {
  const last = must(map.items.at(-1), 'a block with entries')
  const [first] = rangeOf(must(map.items[0], 'a block with entries').key)
  const indent = first - (text.lastIndexOf('\n', first - 1) + 1)
  return afterLine(text, lastPlace(last), blockOf(path, value, indent))
}

function inFlow(text: string, map: YAMLMap, { path, value }: ConfigEdit): string {
  const entry = `${path[0]}: ${flowOf(path.slice(1), value)}`
  const last = map.items.at(-1)
  if (last === undefined) return spliced(text, rangeOf(map)[0] + 1, rangeOf(map)[0] + 1, entry)
  const at = lastPlace(last)
  return spliced(text, at, at, `, ${entry}`)
}

function flowOf(path: readonly string[], value: string | number): string {
  return path.reduceRight((below, key) => `{${key}: ${below}}`, stringify(value).trim())
}

/** A key without a value, all below it commented out. */
function belowKey(text: string, document: Document, above: readonly string[], edit: ConfigEdit): string {
  const parent: unknown = above.length === 1 ? document.contents : document.getIn(above.slice(0, -1), true)
  const pair = isMap(parent) ? parent.items.find(({ key }) => isScalar(key) && key.value === above.at(-1)) : undefined
  const [start, end] = rangeOf(must(pair, 'the key of a section').key)
  const indent = start - (text.lastIndexOf('\n', start - 1) + 1)
  return afterLine(text, end, blockOf(edit.path, edit.value, indent + indentStep))
}

/** Where the last scalar, or collection in brackets, of an entry ends. */
function lastPlace({ key, value }: { readonly key: unknown; readonly value: unknown }): number {
  if (isMap(value) && value.flow !== true && value.items.length > 0) return lastPlace(value.items.at(-1)!)
  if (isSeq(value) && value.flow !== true && value.items.length > 0) return lastPlace({ key: value, value: value.items.at(-1) })
  const [, end] = rangeOf(isScalar(value) && value.value === null ? key : (value ?? key))
  return end
}

function afterLine(text: string, place: number, block: string): string {
  // A block scalar ends with its line break.
  const newline = text.indexOf('\n', Math.max(0, place - 1))
  return newline < 0 ? `${endedLine(text)}${block}` : spliced(text, newline + 1, newline + 1, block)
}

function blockOf(path: readonly string[], value: string | number, indent: number): string {
  return path
    .map(
      (key, depth) =>
        `${' '.repeat(indent + depth * indentStep)}${key}:${depth === path.length - 1 ? ` ${stringify(value).trim()}` : ''}\n`,
    )
    .join('')
}

function rangeOf(node: unknown): readonly [number, number] {
  const range = must((node as Node).range, 'a parsed node has its place')
  return [range[0], range[1]]
}

function spliced(text: string, start: number, end: number, insert: string): string {
  return text.slice(0, start) + insert + text.slice(end)
}

function endedLine(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}
