/** The contender with the grid: one node with a Hazelcast member beside it, running the stock-ticks example. */
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pipeline from '../../examples/stock-ticks/pipeline.ts'
import { runNode } from '../../src/main.ts'
import { Histogram } from '../../src/status/histogram.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import { freePort } from '../support/free-port.ts'
import { readyLine } from './setting.ts'
import type { BenchInput, BenchResult } from './setting.ts'

const input = JSON.parse(process.argv[2]!) as BenchInput
const address = `127.0.0.1:${await freePort()}`
const stop = new AbortController()
let url = ''
const done = runNode({
  pipeline,
  fileHash: null,
  signal: stop.signal,
  onRunning: (running) => {
    url = running
    console.log(readyLine)
  },
  settings: {
    node: { name: 'bench', host: '127.0.0.1', port: 0 },
    events: {
      kind: 'kafka',
      brokers: input.brokers,
      clientId: 'bench',
      group: undefined,
      fetchBytesMax: 4 << 20,
      inflatedBytesMax: 2 << 20,
    },
    eventBytesMax: 1 << 20,
    startAt: 'earliest',
    database: {
      url: input.url,
      poolMax: 8,
      statementTimeoutMs: 30_000,
      lockTimeoutMs: 10_000,
      synchronousCommit: 'on',
      resolvedLettersKeptMs: 3_600_000,
    },
    grid: {
      mode: 'embedded',
      clusterName: `bench-${input.run}`,
      members: [address],
      secret: 'bench',
      queues: 2,
      capacity: 144,
      segmentBytesMax: 128 << 10,
      lingerMs: 5,
      backups: 1,
      memberHeapMb: 512,
      beatMs: 300,
      leaseMs: 1200,
      member: {
        name: 'member',
        address,
        dir: input.dir,
        jars: input.hazelcastJars,
        configFile: resolve(import.meta.dirname, '../../config/hazelcast.yaml'),
      },
    },
    tasks: {},
    tasksOnly: input.isWhole ? undefined : ['storeTrade'],
    logLevel: 'error',
  },
})
const tracked = input.isWhole ? ['storeTrade', 'minuteCandle'] : ['storeTrade']
const rowsOf = (of: NodeStatus | undefined, name: string) => of?.tasks.find(({ task }) => task === name)?.rows ?? 0
const latencyOf = (of: NodeStatus | undefined) => {
  const json = of?.latency['storeTrade']
  return json === undefined ? new Histogram() : Histogram.fromJSON(json)
}
let status: NodeStatus | undefined
let warm: NodeStatus | undefined
while (status === undefined || tracked.some((name) => rowsOf(status, name) < input.events)) {
  await Promise.race([sleep(200), done])
  if (url !== '') status = (await (await fetch(`${url}/status`)).json()) as NodeStatus
  if (rowsOf(warm, 'storeTrade') < input.warmUp) warm = status
}
const latency = latencyOf(status).since(latencyOf(warm))
const result: BenchResult = {
  seconds: (status.lastRowAtMs! - status.firstEventAtMs!) / 1000,
  latencyMs: { p50: latency.percentile(50) ?? 0, p99: latency.percentile(99) ?? 0, p99_9: latency.percentile(99.9) ?? 0 },
  tickSlipMs: { p99: status.tasks.find(({ task }) => task === 'storeTrade')?.tickSlipP99Ms ?? 0 },
  rssMb: status.memory.rssBytes / 2 ** 20,
}
console.log(JSON.stringify(result))
stop.abort()
await done
