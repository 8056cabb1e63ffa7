/**
 * A copy of the product and of its simulation in a temporary folder, with expressions of the source replaced: a rule broken
 * where it is kept. An expression that is not there exactly once is an error, so that no mutant turns into the product.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { tsImport } from 'tsx/esm/api'

/** `to` in the place of `from` in `file`, a path from the root of the repository. */
export interface Edit {
  readonly file: string
  readonly from: string
  readonly to: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const folders = ['src', 'test/simulation', 'test/guarantees']
/** Rooms that the simulation does not enter. */
const left = /\/src\/(cli|launch)$/

/** Imports `module` (from the root) of the edited copy. The copy itself is gone again when this resolves. */
export async function importMutated<T>(edits: readonly Edit[], module: string): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'forebay-mutant-'))
  try {
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    for (const name of folders) cpSync(join(root, name), join(folder, name), { recursive: true, filter: (path) => !left.test(path) })
    for (const edit of edits) applyEdit(join(folder, edit.file), edit)
    // By tsx, which keeps what it has translated, and not by the test runner, which would translate each copy as a whole.
    return (await tsImport(pathToFileURL(join(folder, module)).href, import.meta.url)) as T
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function applyEdit(path: string, { file, from, to }: Edit): void {
  const source = readFileSync(path, 'utf8')
  const parts = source.split(from)
  if (parts.length !== 2)
    throw new Error(`${file} holds ${parts.length - 1} times, not once: ${from}\nGive the mutant the expression that keeps its rule now`)
  writeFileSync(path, parts.join(to))
}
