/**
 * One server for all live test files that do not break it: the first that asks starts it, the teardown of the run ends it.
 * What the files keep on it has names of their own.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface SharedServer {
  /** `host:port`. */
  readonly address: string
  readonly pid: number
}

const names = ['kafka', 'grid'] as const
const startMs = 60_000

/** The server of the run, which `start` starts with a folder of its own. */
export async function sharedServer(name: (typeof names)[number], start: (dir: string) => Promise<SharedServer>): Promise<SharedServer> {
  const dir = join(tmpdir(), `shared-${name}`)
  const file = fileOf(tmpdir(), name)
  const deadline = Date.now() + startMs
  while (!isFirst(dir)) {
    const shared = read(file)
    if (shared !== undefined) return shared
    if (Date.now() > deadline) throw new Error(`another test file began to start the shared ${name} and did not finish; see ${dir}`)
    await sleep(50)
  }
  try {
    const { address, pid } = await start(join(dir, 'server'))
    writeFileSync(file, JSON.stringify({ address, pid } satisfies SharedServer))
    return { address, pid }
  } catch (error) {
    // The next file tries again.
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}

/** Process ids of the servers that test files of the run in the folder `runDir` started for all. */
export function sharedPids(runDir: string): number[] {
  return names.flatMap((name) => read(fileOf(runDir, name))?.pid ?? [])
}

/** Making a folder tells one process alone that it was not there. */
function isFirst(dir: string): boolean {
  return mkdirSync(dir, { recursive: true }) !== undefined
}

function fileOf(runDir: string, name: string): string {
  return join(runDir, `shared-${name}.json`)
}

function read(file: string): SharedServer | undefined {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  // Empty while it is being written.
  return text === '' ? undefined : (JSON.parse(text) as SharedServer)
}
