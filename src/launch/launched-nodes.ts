/** The node processes of a launcher: their files, their start, their addresses. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ForebayError } from '../errors.ts'
import type { NodeStatus } from '../status/status.ts'
import { keptPorts } from './free-port.ts'
import { nodeArguments } from '../grid/node-command.ts'
import { writeNodeFile } from './node-file.ts'
import type { LaunchOptions } from './options.ts'
import { packageRoot } from './package-root.ts'
import { isRunning, recordedProcesses } from './pid-folder.ts'
import { logTail, type ServerHandle, startServer } from './server.ts'
import { keptSecret, type StateFolder } from './state-folder.ts'
import { SupervisedServer } from './supervised-server.ts'
import { endProcesses } from './watchdog.ts'

export interface NodesOptions {
  readonly options: LaunchOptions
  readonly state: StateFolder
  readonly databaseUrl: string
  /** Undefined: the event log is in the database. */
  readonly brokers: readonly string[] | undefined
  /** Java class path of Hazelcast; undefined: the grid is in the node's process. */
  readonly hazelcastJars: string | undefined
  /** Entries of a ring; default: that of config/forebay.yaml. */
  readonly capacity?: number
  readonly log: (line: string) => void
  readonly onRestart: () => void
}

export const examplePipeline = join(packageRoot, 'examples', 'stock-ticks', 'pipeline.ts')
/** What nodes start beside themselves. */
const beside: readonly string[] = ['member', 'watchdog']
const answerMs = 2000
const readyMs = 120_000
/** How long a node may wait for an epoch: nodes that were killed a moment ago are forgotten sooner. */
const waitMs = 15_000

export class LaunchedNodes {
  readonly #servers: readonly SupervisedServer[]
  readonly #pids: string
  /** Configuration file of each node. */
  readonly files: readonly string[]
  /** Addresses of the grid members; null when the grid is in the process. */
  readonly members: readonly string[] | null

  private constructor(servers: readonly SupervisedServer[], pids: string, files: readonly string[], members: readonly string[] | null) {
    this.#servers = servers
    this.#pids = pids
    this.files = files
    this.members = members
  }

  /** Starts all nodes and waits until each is ready. Throws FB_SERVER_START; nodes already started are stopped then. */
  static async start(nodes: NodesOptions): Promise<LaunchedNodes> {
    const { options, state, hazelcastJars } = nodes
    mkdirSync(state.dir, { recursive: true })
    const count = options.nodes
    const ports = await keptPorts(join(state.dir, 'node-ports.json'), 2 * count)
    const httpPorts = ports.slice(0, count)
    const memberAddresses = hazelcastJars === undefined ? null : ports.slice(count).map((port) => `127.0.0.1:${port}`)
    const started = await Promise.allSettled(httpPorts.map((port, index) => startNode(nodes, index, port, memberAddresses)))
    const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    const files = httpPorts.map((_, index) => nodeFile(state, index))
    const launched = new LaunchedNodes(servers, state.pids, files, memberAddresses)
    try {
      for (const result of started) if (result.status === 'rejected') throw result.reason
      await Promise.all(servers.map((server) => untilReady(server, state)))
      return launched
    } catch (error) {
      await launched.stop()
      throw error
    }
  }

  get handles(): readonly ServerHandle[] {
    return this.#servers.map(({ current }) => current)
  }

  get restarts(): number {
    return this.#servers.reduce((sum, { restarts }) => sum + restarts, 0)
  }

  get urls(): readonly string[] {
    return this.handles.map(({ address }) => `http://${address}`)
  }

  /** What the nodes that answer tell. */
  async statuses(): Promise<readonly NodeStatus[]> {
    const answers = await Promise.all(this.urls.map((url) => ask(`${url}/status`)))
    const bodies = await Promise.all(answers.map((answer) => (answer?.ok ? answer.json().catch(() => undefined) : undefined)))
    return bodies.filter((body) => body !== undefined) as NodeStatus[]
  }

  /** Ends all nodes, each drains first, and then what they left: a node that was in a hurry does not wait for its member. */
  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()))
    const left = recordedProcesses(this.#pids).filter((entry) => beside.includes(entry.role) && isRunning(entry))
    await endProcesses(left, this.#pids)
  }
}

function nodeFile({ dir }: StateFolder, index: number): string {
  return join(dir, `node-${index + 1}.yaml`)
}

function startNode(nodes: NodesOptions, index: number, port: number, members: readonly string[] | null): Promise<SupervisedServer> {
  const { state, log, onRestart } = nodes
  const name = `node-${index + 1}`
  const file = nodeFile(state, index)
  writeNodeFile(file, nodeValues(nodes, index, port, members))
  const url = `http://127.0.0.1:${port}`
  return SupervisedServer.start({
    start: () =>
      startServer({
        name,
        role: 'node',
        address: `127.0.0.1:${port}`,
        command: process.execPath,
        args: [...nodeArguments('../cli/main', import.meta.url), 'start', '-c', file],
        cwd: process.cwd(),
        // A node takes settings and secrets from the environment.
        env: process.env,
        logFile: join(state.dir, `${name}.log`),
        pids: state.pids,
        isReady: async () => (await ask(`${url}/healthz`)) !== undefined,
        readyMs,
        stopSignal: 'SIGTERM',
        stopMs: 60_000,
      }),
    log,
    onRestart,
  })
}

function nodeValues(
  { options, state, databaseUrl, brokers, hazelcastJars, capacity }: NodesOptions,
  index: number,
  port: number,
  members: readonly string[] | null,
) {
  const urlFile = join(state.dir, 'database-url')
  writeFileSync(urlFile, `${databaseUrl}\n`, { mode: 0o600 })
  const secretFile = join(state.dir, 'grid-secret')
  keptSecret(secretFile)
  const clusterName = `forebay-${keptSecret(join(state.dir, 'cluster-name'))
    .replace(/[^A-Za-z0-9]/g, '')
    .slice(0, 12)}`
  const own = members?.[index]
  const grid =
    own === undefined || members === null
      ? { mode: 'local', secretFile }
      : {
          mode: 'embedded',
          clusterName,
          members,
          secretFile,
          member: {
            host: '127.0.0.1',
            port: Number(own.split(':')[1]),
            dir: state.dir,
            classPath: hazelcastJars,
            configFile: join(packageRoot, 'config', 'hazelcast.yaml'),
          },
        }
  return {
    pipeline: examplePipeline,
    tasksOnly: options.tasks,
    node: { name: `node-${index + 1}`, host: '127.0.0.1', port },
    events: brokers === undefined ? { kind: 'postgres', brokers: undefined } : { kind: 'kafka', brokers },
    database: { url: undefined, urlFile },
    grid: capacity === undefined ? grid : { ...grid, capacity },
  }
}

async function untilReady(server: SupervisedServer, { dir }: StateFolder): Promise<void> {
  const deadline = Date.now() + readyMs
  let waitsSinceMs: number | undefined
  for (;;) {
    const { name, address } = server.current
    if ((await ask(`http://${address}/readyz`))?.ok) return
    const reason = await waitsFor(`http://${address}/status`)
    waitsSinceMs = reason === undefined ? undefined : (waitsSinceMs ?? Date.now())
    if (waitsSinceMs !== undefined && Date.now() - waitsSinceMs > waitMs)
      throw new ForebayError(
        'FB_SERVER_START',
        `${name} cannot go on with the state of earlier runs: ${reason} The commands it names work in a second terminal while a run lives: start as before, say the word there, stop, and start like this again. Or discard the state of earlier runs with --fresh.`,
      )
    if (Date.now() > deadline)
      throw new ForebayError(
        'FB_SERVER_START',
        `${name} was not ready within ${readyMs / 1000} s; the end of its log:\n${logTail(join(dir, `${name}.log`))}`,
      )
    await sleep(100)
  }
}

/** What a node says that serves and waits for an epoch; undefined of any other. */
async function waitsFor(url: string): Promise<string | undefined> {
  const status = (await (await ask(url))?.json().catch(() => undefined)) as Pick<NodeStatus, 'epoch' | 'reasons'> | undefined
  return status?.epoch === null ? status.reasons[0] : undefined
}

/** The answer, or undefined when there is none. */
async function ask(url: string): Promise<Response | undefined> {
  try {
    return await fetch(url, { signal: AbortSignal.timeout(answerMs) })
  } catch {
    return undefined
  }
}
