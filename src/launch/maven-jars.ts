/**
 * Provisions the server jars with Maven into an ignored folder, once.
 *
 * Each server has its own folder, named after the content of the pom, so that a changed version is provisioned anew. Maven
 * writes into a folder of its own first, which gets its final name in one step: a folder with the final name is complete,
 * whatever was killed when. Two processes may do it at once; the second waits for the first, or, should both get through,
 * its copy is dropped.
 */
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ForebayError } from '../errors.ts'
import { isRunning, recordedProcess, recordProcess, forgetProcess } from './pid-folder.ts'
import { packageRoot } from './package-root.ts'
import { runProgram } from './run-program.ts'

/** Java class paths of the provisioned servers. */
export interface ServerJars {
  readonly hazelcast: string
  readonly kafka: string
}

const pom = join(packageRoot, 'config', 'servers', 'pom.xml')
const lockWaitMs = 10 * 60_000

/**
 * Makes sure that the jars of Hazelcast and Kafka are in `dir` and gives their class paths.
 * Throws FB_TOOL_MISSING without Java 17 or Maven, FB_SERVER_START when Maven fails.
 */
export async function provisionJars(dir: string, log: (line: string) => void = () => undefined): Promise<ServerJars> {
  await requireJava()
  const digest = createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 12)
  mkdirSync(dir, { recursive: true })
  const provision = (server: keyof ServerJars) => provisionServer(dir, server, digest, log)
  return { hazelcast: await provision('hazelcast'), kafka: await provision('kafka') }
}

/** Throws FB_TOOL_MISSING unless `java` runs and is at least Java 17. */
export async function requireJava(): Promise<void> {
  const advice = 'install a JDK or JRE 17 or newer so that `java` is on the PATH, or use `npm start`, which needs no Java'
  const result = await runTool('java', ['-version'], advice)
  const major = Number(/version "(\d+)/.exec(result.output)?.[1] ?? Number.NaN)
  if (result.exitCode !== 0 || !(major >= 17)) {
    throw new ForebayError(
      'FB_TOOL_MISSING',
      `Kafka and Hazelcast need Java 17 or newer, but \`java -version\` says: ${firstLine(result.output)}; ${advice}.`,
    )
  }
}

async function provisionServer(dir: string, server: keyof ServerJars, digest: string, log: (line: string) => void): Promise<string> {
  const target = join(dir, `${server}-${digest}`)
  const classPath = join(target, '*')
  if (existsSync(target)) return classPath
  const unlock = await lock(dir, server, () => existsSync(target))
  try {
    if (!existsSync(target)) await copyJars(dir, server, target, log)
  } finally {
    unlock()
  }
  return classPath
}

async function copyJars(dir: string, server: string, target: string, log: (line: string) => void): Promise<void> {
  log(`getting the jars of ${server} with Maven (once)`)
  const draft = join(dir, `draft-${server}-${randomUUID()}`)
  try {
    const args = [
      '-q',
      '-B',
      '-f',
      pom,
      '-P',
      server,
      'dependency:copy-dependencies',
      `-DoutputDirectory=${draft}`,
      '-DincludeScope=runtime',
    ]
    const result = await runTool('mvn', args, 'install Apache Maven so that `mvn` is on the PATH, or use `npm start`, which needs none')
    if (result.exitCode !== 0) {
      throw new ForebayError(
        'FB_SERVER_START',
        `Maven could not get the jars of ${server} (exit code ${result.exitCode}); is the network or a Maven mirror reachable? It said:\n${result.output.slice(-2000)}`,
      )
    }
    try {
      renameSync(draft, target)
    } catch (error) {
      if (!existsSync(target)) throw error
    }
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** Waits until nobody else provisions `server`. The lock only saves work: whoever overrides one by mistake does no harm. */
async function lock(dir: string, server: string, isDone: () => boolean): Promise<() => void> {
  const name = `lock-${server}`
  const deadline = Date.now() + lockWaitMs
  while (!isDone() && Date.now() < deadline) {
    const holder = recordedProcess(dir, name)
    if (holder === undefined || holder.pid === process.pid || !isRunning(holder)) break
    await sleep(200)
  }
  recordProcess(dir, { role: 'provisioning', name, pid: process.pid, address: '' })
  return () => forgetProcess(dir, name, process.pid)
}

async function runTool(command: string, args: readonly string[], advice: string) {
  try {
    // Maven looks for its settings, its proxies and its folder where the owner has them.
    return await runProgram(command, args, { env: process.env })
  } catch (error) {
    throw new ForebayError(
      'FB_TOOL_MISSING',
      `\`${command}\` cannot be run (${(error as NodeJS.ErrnoException).code ?? String(error)}): ${advice}.`,
      { cause: error },
    )
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}
