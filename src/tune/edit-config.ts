/**
 * Puts values into the text of a configuration file. Comments, order and everything else stay. Pure.
 */
import { isMap, isScalar, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import { ForebayError } from '../errors.ts'

export interface ConfigEdit {
  readonly path: readonly string[]
  readonly value: string | number
}

/** What an edit does to the file; `before` is null for a key that was not there. */
export interface ConfigChange extends ConfigEdit {
  readonly before: string | number | null
}

/** The new text, and the edits that change something. Throws FB_CONFIG when the text is no YAML, or has something else where a section should be. */
export function editConfig(
  text: string,
  edits: readonly ConfigEdit[],
): { readonly text: string; readonly changes: readonly ConfigChange[] } {
  const document = parseDocument(text, { version: '1.2', merge: false, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined)
    throw new ForebayError('FB_CONFIG', `the configuration is no YAML (${error.message}); check it with forebay check-config`)
  const changes: ConfigChange[] = []
  for (const { path, value } of edits) {
    const before = scalarAt(document, path)
    if (before === value) continue
    makeSections(document, path)
    // A scalar that is there is changed in place: it keeps the comment beside it.
    const node: unknown = document.getIn(path, true)
    if (isScalar(node)) node.value = value
    else document.setIn(path, value)
    changes.push({ path, value, before })
  }
  if (changes.length === 0) return { text, changes }
  const flowCollectionPadding = /[[{] +\S/.test(text.replace(/#.*$/gm, ''))
  return { text: document.toString({ lineWidth: 0, flowCollectionPadding }), changes }
}

function scalarAt(document: Document, path: readonly string[]): string | number | null {
  const value: unknown = document.hasIn(path) ? document.getIn(path) : null
  return typeof value === 'string' || typeof value === 'number' ? value : null
}

/** A section without a value, all below it commented out, becomes an empty one. */
function makeSections(document: Document, path: readonly string[]): void {
  if (document.contents === null) document.contents = document.createNode({}) as unknown as Document['contents']
  for (let length = 1; length < path.length; length++) {
    const above = path.slice(0, length)
    const node: unknown = document.getIn(above, true)
    if (isMap(node)) continue
    if (node !== undefined && node !== null && !(isScalar(node) && node.value === null))
      throw new ForebayError('FB_CONFIG', `${above.join('.')} is no section in the configuration; check it with forebay check-config`)
    // The comments that stand in the place of its keys stay.
    const made = document.createNode({})
    if (isScalar(node)) Object.assign(made, { comment: node.comment, commentBefore: node.commentBefore, spaceBefore: node.spaceBefore })
    document.setIn(above, made)
  }
}
