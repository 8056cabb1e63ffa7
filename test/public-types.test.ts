/** The public types as they stand. A change of the files is a change of the interface: say it in CHANGELOG, then `npx vitest run -u`. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const types = mkdtempSync(join(tmpdir(), 'forebay-types-'))

beforeAll(() => {
  const words = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--declaration', '--removeComments', '--outDir', types]
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...words], { cwd: root })
}, 60_000)
afterAll(() => rmSync(types, { recursive: true, force: true }))

it.each(['index', 'start-node', 'schema-registry'])('the entry %s gives what it gave', async (entry) => {
  const text = readFileSync(join(types, `${entry}.d.ts`), 'utf8')
  const own = [...text.matchAll(/^export (?:declare )?(?:function|interface|type) (\w+)/gm)].map(([, name]) => ({
    name: name!,
    file: join(types, `${entry}.d.ts`),
  }))
  const passed = [...text.matchAll(/export (?:type )?\{([^}]*)\} from '\.\/([^']+)\.(?:ts|js)'/g)].flatMap(([, names, path]) =>
    names!.split(',').flatMap((name) => (name.trim() === '' ? [] : [{ name: name.trim(), file: join(types, `${path}.d.ts`) }])),
  )
  const exported = [...own, ...passed]
  expect(exported.length).toBeGreaterThan(3)
  const declared = exported.map(({ name, file }) => declarationOf(name, readFileSync(file, 'utf8')))
  expect(declared).not.toContain(undefined)
  await expect(`${declared.toSorted().join('\n\n')}\n`).toMatchFileSnapshot(`public-types/${entry}.txt`)
})

/** From its first line to the one that closes it. */
function declarationOf(name: string, text: string): string | undefined {
  const begin = new RegExp(`^export (?:declare )?(?:const|function|interface|type|class) ${name}\\b`, 'm').exec(text)
  if (begin === null) return undefined
  const rest = text.slice(begin.index)
  const end = /;\n(?![ }])|\n\}\n|\n\}.*;\n|\{\s*\}\n/.exec(rest)!
  return rest.slice(0, end.index + end[0].length).trim()
}
