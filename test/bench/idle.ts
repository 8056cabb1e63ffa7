/**
 * `npm run bench:idle`: what does little work cost? Two nodes with a Hazelcast member each, on Kafka and Postgres; for each number of queues a
 * partition and each rate it prints, for each node, the share of a core, how resident memory grew (MiB an hour, by least squares),
 * and what the nodes did. With `--for 1h` it is a soak. Linux only: the processor time is read from /proc.
 *
 * npm run bench:idle -- --for 60s --queues 2,32 --rate 50,0
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import type { NodeStatus } from '../../src/status/status.ts'
import { parseDuration } from '../../src/text/units.ts'
import { freePort } from '../support/free-port.ts'
import { openBench } from './setting.ts'

const { values: options } = parseArgs({
  options: {
    for: { type: 'string', default: '60s' },
    queues: { type: 'string', default: '2,32' },
    rate: { type: 'string', default: '50,0' },
  },
})
const duration = parseDuration(options.for)
if ('problem' in duration) throw new Error(`--for: ${duration.problem}`)
const forMs = duration.value
const warmUpMs = 20_000
const sampleMs = 5_000
/** Of a Linux kernel as all distributions ship it. */
const ticksPerSecond = 100
const counters = ['segments', 'heartbeats', 'flushes', 'forgets', 'fences', 'skips', 'gaps', 'repairs'] as const

const root = join(import.meta.dirname, '../..')
const say = (line: string) => process.stderr.write(`${line}\n`)

interface RunningNode {
  readonly child: ChildProcess
  readonly url: string
}

await using bench = await openBench(0)
for (const queues of numbersOf(options.queues)) {
  for (const perSecond of numbersOf(options.rate)) {
    say(`${queues} queues a partition, ${perSecond} events a second, ${options.for}`)
    console.log(JSON.stringify(await measure(queues, perSecond)))
  }
}

async function measure(queues: number, perSecond: number) {
  await bench.clean()
  const memberPorts = [await freePort(), await freePort()]
  const cluster = `idle-${queues}-${perSecond}`
  const nodes = await Promise.all(memberPorts.map((port, index) => start(`n${index + 1}`, { port, memberPorts, cluster, queues })))
  const database = new pg.Client(bench.input.url)
  await database.connect()
  const publishing = new AbortController()
  const events = Math.ceil((perSecond * (forMs + warmUpMs + 60_000)) / 1000)
  const published = perSecond > 0 ? bench.publish(events, perSecond, publishing.signal) : Promise.resolve()
  try {
    for (const { url } of nodes) await until(async () => (await statusOf(url))?.members.length === 2)
    await sleep(warmUpMs)
    const before = await Promise.all(nodes.map((node) => sampleOf(node)))
    const transactions = await transactionsOf(database)
    const samples = nodes.map((): { ms: number; mib: number }[] => [])
    const startedMs = performance.now()
    while (performance.now() - startedMs < forMs) {
      await sleep(Math.min(sampleMs, forMs - (performance.now() - startedMs)))
      nodes.forEach((node, index) => samples[index]!.push({ ms: performance.now() - startedMs, mib: residentMib(node.child.pid!) }))
    }
    const seconds = (performance.now() - startedMs) / 1000
    const after = await Promise.all(nodes.map((node) => sampleOf(node)))
    return {
      queues,
      perSecond,
      seconds: Math.round(seconds),
      coreShare: after.map(({ cpuSeconds }, index) => rounded((cpuSeconds - before[index]!.cpuSeconds) / seconds, 4)),
      residentMib: samples.map((sample) => Math.round(sample.at(-1)!.mib)),
      residentMibAnHour: samples.map((sample) => rounded(slopeOf(sample) * 3_600_000, 1)),
      transactionsASecond: rounded(((await transactionsOf(database)) - transactions) / seconds, 1),
      did: Object.fromEntries(
        counters.map((name) => [
          name,
          after.reduce((sum, { counts }, index) => sum + (counts[name] ?? 0) - (before[index]!.counts[name] ?? 0), 0),
        ]),
      ),
    }
  } finally {
    publishing.abort()
    await published
    await database.end()
    await Promise.all(nodes.map(stop))
  }
}

interface NodeChoice {
  readonly port: number
  readonly memberPorts: readonly number[]
  readonly cluster: string
  readonly queues: number
}

async function start(name: string, { port, memberPorts, cluster, queues }: NodeChoice): Promise<RunningNode> {
  const { url, brokers, hazelcastJars, dir } = bench.input
  const httpPort = await freePort()
  const config = join(dir, `${cluster}-${name}.yaml`)
  writeFileSync(
    config,
    JSON.stringify({
      pipeline: join(root, 'examples/stock-ticks/pipeline.ts'),
      node: { name, port: httpPort },
      events: { kind: 'kafka', brokers, eventBytesMax: '64KiB' },
      grid: {
        mode: 'embedded',
        queues,
        // So that the rings of many queues fit the members.
        segmentBytesMax: '96KiB',
        capacity: 48,
        memberHeap: '1GiB',
        clusterName: cluster,
        members: memberPorts.map((member) => `127.0.0.1:${member}`),
        member: { port, dir: join(dir, `${cluster}-${name}`), classPath: hazelcastJars },
      },
      log: { level: 'warn' },
    }),
  )
  const child = spawn(process.execPath, ['--import', 'tsx', join(root, 'src/cli/main.ts'), 'start', '-c', config], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, FOREBAY_DATABASE_URL: url },
  })
  const node = { child, url: `http://127.0.0.1:${httpPort}` }
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`node ${name} ended with ${child.exitCode}`)
    return (await statusOf(node.url)) !== undefined
  })
  return node
}

async function stop({ child }: RunningNode): Promise<void> {
  if (child.exitCode !== null) return
  child.kill('SIGTERM')
  await new Promise((done) => child.once('exit', done))
}

async function statusOf(url: string): Promise<NodeStatus | undefined> {
  const response = await fetch(`${url}/status`).catch(() => undefined)
  return response?.ok === true ? ((await response.json()) as NodeStatus) : undefined
}

async function sampleOf({ child, url }: RunningNode) {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  return { cpuSeconds, counts: ((await statusOf(url))?.counters ?? {}) as Readonly<Record<string, number>> }
}

function residentMib(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

async function transactionsOf(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ n: string }>(
    'select xact_commit + xact_rollback as n from pg_stat_database where datname = current_database()',
  )
  return Number(rows[0]?.n)
}

/** Least squares. */
function slopeOf(points: readonly { ms: number; mib: number }[]): number {
  const meanMs = points.reduce((sum, { ms }) => sum + ms, 0) / points.length
  const meanMib = points.reduce((sum, { mib }) => sum + mib, 0) / points.length
  const spread = points.reduce((sum, { ms }) => sum + (ms - meanMs) ** 2, 0)
  return spread === 0 ? 0 : points.reduce((sum, { ms, mib }) => sum + (ms - meanMs) * (mib - meanMib), 0) / spread
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error('the nodes did not come up within a minute')
    await sleep(100)
  }
}

function numbersOf(text: string): number[] {
  return text.split(',').map(Number)
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
