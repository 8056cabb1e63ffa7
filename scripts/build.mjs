/** `npm run build`: compiles src into an empty dist and makes the commands of package.json executable. */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))

rmSync(join(root, 'dist'), { recursive: true, force: true })
const compiler = join(typescript, readJson(join(typescript, 'package.json')).bin.tsc)
const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
if (status !== 0) process.exit(status ?? 1)
cpSync(join(root, 'src/ledger/migrations'), join(root, 'dist/ledger/migrations'), { recursive: true })
for (const file of Object.values(readJson(join(root, 'package.json')).bin ?? {})) chmodSync(join(root, file), 0o755)
