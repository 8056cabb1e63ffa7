/**
 * A YAML file as plain values that still know where they were written.
 */
import { LineCounter, isMap, isPair, isScalar, isSeq, parseDocument } from 'yaml'
import type { Node } from 'yaml'

export type KeyPath = readonly PropertyKey[]

export interface YamlProblem {
  readonly line: number
  readonly message: string
}

export class YamlSource {
  /** What the file says, as plain objects; an empty file is an empty object. */
  readonly value: unknown
  /** Errors of the YAML itself; with any, `value` is of no use. */
  readonly problems: readonly YamlProblem[]
  readonly #root: unknown
  readonly #lines = new LineCounter()

  constructor(text: string) {
    const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, version: '1.2', merge: false })
    this.problems = document.errors.map(({ pos, message }) => ({ line: this.#lines.linePos(pos[0]).line, message: sentence(message) }))
    this.#root = document.contents
    this.value = this.problems.length > 0 ? undefined : (document.toJS({ maxAliasCount: 100 }) ?? {})
  }

  /** The line of the key at `path`, or of the nearest thing above it that the file names. */
  line(path: KeyPath): number {
    let node: unknown = this.#root
    let offset = 0
    for (const part of path) {
      const found = childOf(node, part)
      if (found === undefined) break
      offset = found.offset ?? offset
      node = found.node
    }
    return this.#lines.linePos(offset).line
  }

  /** Whether the file itself names `path`. */
  has(path: KeyPath): boolean {
    let node: unknown = this.#root
    for (const part of path) {
      const found = childOf(node, part)
      if (found === undefined) return false
      node = found.node
    }
    return true
  }
}

function childOf(node: unknown, part: PropertyKey): { node: unknown; offset: number | undefined } | undefined {
  if (isMap(node)) {
    const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part))
    return pair && { node: pair.value, offset: (pair.key as Node).range?.[0] }
  }
  if (isSeq(node) && typeof part === 'number') {
    const item = node.items[part] as Node | undefined
    return item && { node: item, offset: item.range?.[0] }
  }
  return undefined
}

function sentence(message: string): string {
  return message === 'Map keys must be unique' ? 'this key was already given above' : message
}
