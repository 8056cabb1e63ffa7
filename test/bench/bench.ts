/**
 * `npm run bench -- [--rounds 5] [--events 654140] [--json]`: forebay beside a direct consumer, interleaved, on the same
 * servers and the same preloaded trades; then both at 2,000 events a second (three rounds at most). One process each. Prints medians, spread and
 * the ratio; nobody else should use the machine meanwhile.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openBench, readyLine } from './setting.ts'
import type { Bench, BenchInput, BenchResult } from './setting.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    events: { type: 'string', default: '654140' },
    json: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const events = Number(values.events)
const pacedPerSecond = 2000
const pacedEvents = 60_000
/** The first ten seconds. */
const warmUp = 20_000
const pacedRounds = Math.min(rounds, 3)
const contenders = ['direct', 'forebay'] as const

const say = (line: string) => process.stderr.write(`${line}\n`)
const report: Record<string, unknown> = { events, rounds }
let open: Bench | undefined
const interrupted = () => void Promise.resolve(open?.[Symbol.asyncDispose]()).finally(() => process.exit(130))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted)
{
  await using bench = (open = await openBench(events))
  say(`publishing ${events} trades`)
  await bench.publish(events, undefined)
  for (const isWhole of [false, true]) {
    const rates = { direct: [] as number[], forebay: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
        await bench.clean()
        const { seconds, rssMb } = await contend(contender, { ...bench.input, isWhole, warmUp: 0, run: `${contender}-${isWhole}-${round}` })
        rates[contender].push(events / seconds)
        say(
          `${isWhole ? 'whole example' : 'storeTrade'} round ${round + 1} ${contender}: ${Math.round(events / seconds)} events/s, ${Math.round(rssMb)} MiB`,
        )
      }
    }
    const ratios = rates.forebay.map((rate, round) => rate / rates.direct[round]!)
    report[isWhole ? 'whole' : 'storeTrade'] = { direct: spread(rates.direct), forebay: spread(rates.forebay), ratio: spread(ratios, 2) }
  }
}
const paced = { direct: [] as BenchResult[], forebay: [] as BenchResult[] }
for (let round = 0; round < pacedRounds; round++) {
  for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
    await using bench = (open = await openBench(pacedEvents))
    await bench.clean()
    let isReady = () => undefined as void
    const ready = new Promise<void>((resolve) => (isReady = resolve))
    const run = contend(contender, { ...bench.input, isWhole: false, warmUp, run: `${contender}-paced-${round}` }, isReady)
    await Promise.race([ready, run])
    await bench.publish(pacedEvents, pacedPerSecond)
    const result = await run
    paced[contender].push(result)
    say(`paced round ${round + 1} ${contender}: p50 ${result.latencyMs?.p50} ms, p99 ${result.latencyMs?.p99} ms`)
  }
}
for (const contender of contenders) {
  const valuesOf = (of: (result: BenchResult) => number | undefined) => spread(paced[contender].map((result) => of(result) ?? Number.NaN))
  report[`${contender} at ${pacedPerSecond}/s`] = {
    latencyMs: {
      p50: valuesOf(({ latencyMs }) => latencyMs?.p50),
      p99: valuesOf(({ latencyMs }) => latencyMs?.p99),
      p99_9: valuesOf(({ latencyMs }) => latencyMs?.p99_9),
    },
    tickSlipMs: contender === 'direct' ? null : { p99: valuesOf(({ tickSlipMs }) => tickSlipMs?.p99) },
  }
}
console.log(values.json ? JSON.stringify(report) : JSON.stringify(report, null, 2))

/** `onReady` is called when the contender reads. */
function contend(contender: (typeof contenders)[number], input: BenchInput, onReady = () => undefined as void): Promise<BenchResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, `${contender}.ts`), JSON.stringify(input)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout.on('data', (part: Buffer) => {
      out += part.toString()
      if (out.startsWith(`${readyLine}\n`)) onReady()
    })
    child.once('exit', (code) => {
      const last = out.trimEnd().split('\n').at(-1) ?? ''
      if (code === 0) resolve(JSON.parse(last) as BenchResult)
      else reject(new Error(`${contender} ended with ${code}`))
    })
  })
}

function spread(values: readonly number[], digits = 0): { median: number; min: number; max: number } {
  const sorted = values.toSorted((a, b) => a - b)
  const round = (value: number) => Number(value.toFixed(digits))
  return { median: round(sorted[Math.floor(sorted.length / 2)]!), min: round(sorted[0]!), max: round(sorted.at(-1)!) }
}
