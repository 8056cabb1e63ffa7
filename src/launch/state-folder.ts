/** Where a launcher keeps what it needs again: `.forebay/` of the working directory. */
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { refuseStranger } from '../grid/own-folder.ts'
import type { LaunchMode } from './options.ts'
import { discardPostgres } from './postgres-account.ts'

export interface StateFolder {
  /** `.forebay`: run file and lock of the launcher. */
  readonly root: string
  /** `.forebay/<mode>`: everything else. */
  readonly dir: string
  readonly pids: string
  readonly runFile: string
}

export function stateFolder(workingDirectory: string, mode: LaunchMode): StateFolder {
  const root = join(workingDirectory, '.forebay')
  const dir = join(root, mode)
  return { root, dir, pids: join(dir, 'pids'), runFile: join(root, 'run.json') }
}

/**
 * Makes the folders for their owner alone. Throws FB_USAGE when they are another user's. Root alone leaves them passable, since the database runs as another account then;
 * everything secret in them is a file of mode 0600 all the same.
 */
export function makeState({ root, dir }: StateFolder): void {
  for (const folder of [root, dir]) {
    refuseStranger(folder, 'whoever it belongs to could have it run what he likes; start in another folder, or take it over (chown)', true)
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, process.getuid?.() === 0 ? 0o711 : 0o700)
  }
}

/** Forgets all earlier runs of this mode. Nothing of them may run any more. */
export function discardState({ dir }: StateFolder): void {
  discardPostgres(join(dir, 'postgres'))
  rmSync(dir, { recursive: true, force: true })
}

/** The random text kept in `file` (mode 0600), drawn when it is missing. */
export function keptSecret(file: string): string {
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}
