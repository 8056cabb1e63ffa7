/**
 * `npm run simulate -- --schedules N --seed S [--mutant NAME] [--trace]`: N schedules from seed S on. Exit code 1 when one
 * breaks an invariant; the last line on stdout is a JSON summary.
 */
import { parseArgs } from 'node:util'
import { mutants } from './mutants.ts'
import { runSchedule } from './schedule.ts'
import { summarise } from './summary.ts'

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    mutant: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
})
const mutant = values.mutant === undefined ? undefined : mutants.find(({ name }) => name === values.mutant)
if (values.mutant !== undefined && mutant === undefined) {
  process.stderr.write(`no mutant is named ${values.mutant}; there are ${mutants.map(({ name }) => name).join(', ')}\n`)
  process.exit(64)
}
const restore = mutant?.install?.()
const summary = await summarise({
  firstSeed: Number(values.seed),
  schedules: Number(values.schedules),
  mutate: mutant?.mutate,
  stopsAtViolation: true,
})
if (summary.violations.length > 0 || values.trace) {
  const seed = summary.violations[0]?.seed ?? Number(values.seed)
  const lines: string[] = []
  const result = await runSchedule(seed, { mutate: mutant?.mutate, onTrace: (line) => void lines.push(line) })
  process.stderr.write(`${lines.slice(values.trace ? 0 : -60).join('\n')}\nseed ${seed}: ${result.violation ?? 'no violation'}\n`)
}
restore?.()
process.stdout.write(`${JSON.stringify(summary)}\n`)
process.exitCode = summary.violations.length > 0 ? 1 : 0
