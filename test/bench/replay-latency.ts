/**
 * `npm run bench:replay`: does a replay harm the live pipeline? One node on Kafka, Hazelcast and Postgres takes 5,000 trades a second;
 * five windows without a replay and five with one, interleaved; compares the 99th percentiles of the time from record to committed
 * row. Passes when the median with a replay is at most 1.2 times the one without, or lies within the spread of those without.
 * Takes about a minute; nobody else should use the machine meanwhile.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Histogram } from '../../src/status/histogram.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import { freePort } from '../support/free-port.ts'
import { openBench } from './setting.ts'

const rounds = 5
const windowMs = 5_000
const perSecond = 5_000
const settleMs = 2_500
/** Code of the node is compiled meanwhile. */
const warmUpMs = 15_000
/** What there is to replay: more than a window can take. */
const preloaded = 150_000
/** The recorded day has 654,140 trades: enough for five rounds on a quiet machine. */
const paced = 100 * perSecond
const ratioMax = 1.2
const task = 'storeTrade'

const root = join(import.meta.dirname, '../..')
const say = (line: string) => process.stderr.write(`${line}\n`)

await using bench = await openBench(preloaded)
const { url, brokers, hazelcastJars, dir } = bench.input
await bench.clean()
say(`publishing ${preloaded} trades to replay`)
await bench.publish(preloaded, undefined)
const config = join(dir, 'forebay.yaml')
const [port, memberPort] = [await freePort(), await freePort()]
writeFileSync(
  config,
  JSON.stringify({
    pipeline: join(root, 'examples/stock-ticks/pipeline.ts'),
    node: { name: 'bench', port },
    events: { kind: 'kafka', brokers },
    grid: {
      mode: 'embedded',
      clusterName: 'bench-replay',
      members: [`127.0.0.1:${memberPort}`],
      member: { port: memberPort, dir: join(dir, 'member'), classPath: hazelcastJars },
    },
    log: { level: 'error' },
  }),
)
const forebay = (args: readonly string[]) =>
  spawn(process.execPath, ['--import', 'tsx', join(root, 'src/cli/main.ts'), ...args, '-c', config], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, FOREBAY_DATABASE_URL: url },
  })
const node = forebay(['start'])
let replay: ReturnType<typeof forebay> | undefined
const database = new pg.Client(url)
await database.connect()
let failed = true
try {
  await until('the node has applied what was preloaded', 60_000, async () => (await latency())?.count === preloaded)
  const publishing = bench.publish(preloaded + paced, perSecond)
  await sleep(warmUpMs)
  const without: number[] = []
  const beside: number[] = []
  for (let round = 1; round <= rounds; round++) {
    without.push(await window())
    replay = forebay(['replay', '--from', 'earliest', '--task', task, '--into', `again_${round}`, '--json'])
    await until('the replay writes', 30_000, async () => {
      if (replay?.exitCode !== null) throw new Error('the replay ended before it wrote')
      return (await replayed(round)) > 0
    })
    // What its start took from the processor is made up for.
    await sleep(settleMs)
    const before = await replayed(round)
    beside.push(await window())
    const after = await replayed(round)
    if (replay.exitCode !== null) throw new Error('the replay ended before its window: preload more')
    replay.kill('SIGKILL')
    say(
      `round ${round}: p99 ${without.at(-1)} ms without, ${beside.at(-1)} ms with a replay of ${Math.round((after - before) / (windowMs / 1000))} rows/s`,
    )
    await sleep(settleMs)
  }
  const [alone, together] = [medianOf(without), medianOf(beside)]
  const ratio = Number((together / alone).toFixed(2))
  const passes = ratio <= ratioMax || together <= Math.max(...without)
  console.log(
    JSON.stringify({ perSecond, windowMs, p99Ms: { without, beside }, medianMs: { without: alone, beside: together }, ratio, passes }),
  )
  failed = !passes
  publishing.catch(() => undefined)
} finally {
  replay?.kill('SIGKILL')
  await database.end()
  node.kill('SIGTERM')
  await new Promise((done) => (node.exitCode === null ? node.once('exit', done) : done(undefined)))
}
await bench[Symbol.asyncDispose]()
process.exit(failed ? 1 : 0)

/** The 99th percentile of what was committed within the next `windowMs`. */
async function window(): Promise<number> {
  const before = (await latency())!
  await sleep(windowMs)
  const p99 = (await latency())!.since(before).percentile(99)
  if (p99 === null) throw new Error('no trade was committed in a window: the feed is at its end; run it on a quieter machine')
  return p99
}

async function latency(): Promise<Histogram | undefined> {
  const response = await fetch(`http://127.0.0.1:${port}/status`).catch(() => undefined)
  const status = response?.ok === true ? ((await response.json()) as NodeStatus) : undefined
  const json = status?.latency[task]
  return json === undefined ? undefined : Histogram.fromJSON(json)
}

async function replayed(round: number): Promise<number> {
  const { rows } = await database.query<{ rows: string }>(
    'select coalesce(sum(p.rows), 0) as rows from forebay.replay_progress p join forebay.replays r on r.id = p.replay where r.target = $1',
    [`again_${round}`],
  )
  return Number(rows[0]?.rows)
}

async function until(what: string, waitMs: number, isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + waitMs
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`not within ${waitMs} ms: ${what}`)
    await sleep(50)
  }
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}
