/**
 * One Kafka broker for all live test files that do not break it: the first one starts it, the teardown of the run ends it.
 * Each file names topics of its own.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'

interface SharedServer {
  readonly address: string
  readonly pid: number
}

const startMs = 60_000

/** `host:port` of the broker, which runs. `runDir` is the folder of the test run. */
export async function sharedKafka(runDir: string): Promise<string> {
  const dir = join(runDir, 'shared-kafka')
  const deadline = Date.now() + startMs
  for (;;) {
    if (isFirst(dir)) break
    const shared = readShared(runDir)
    if (shared !== undefined) return shared.address
    if (Date.now() > deadline) throw new Error(`another test file began to start the shared broker and did not finish; see ${dir}`)
    await sleep(50)
  }
  try {
    const server = await startKafka({ dir: join(dir, 'broker'), jars: (await provisionJars(serversFolder)).kafka, heapMb: 512 })
    writeFileSync(sharedFile(runDir), JSON.stringify({ address: server.address, pid: server.pid } satisfies SharedServer))
    return server.address
  } catch (error) {
    // The next file tries again.
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
}

/** The process id of the broker that some test file started, if any. */
export function sharedKafkaPid(runDir: string): number | undefined {
  return readShared(runDir)?.pid
}

/** Making a folder tells one process alone that it was not there. */
function isFirst(dir: string): boolean {
  return mkdirSync(dir, { recursive: true }) !== undefined
}

function sharedFile(runDir: string): string {
  return join(runDir, 'shared-kafka.json')
}

function readShared(runDir: string): SharedServer | undefined {
  const file = sharedFile(runDir)
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  // Empty while it is being written.
  return text === '' ? undefined : (JSON.parse(text) as SharedServer)
}
