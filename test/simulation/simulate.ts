/**
 * `npm run simulate -- --schedules N --seed S [--mutant NAME|all] [--trace]`: N schedules from seed S on. Exit code 1 when
 * one breaks an invariant; the last line on stdout is a JSON summary. `--mutant all` prints a line for each mutant instead.
 */
import { parseArgs } from 'node:util'
import { mutants, simulateMutant } from './mutants.ts'
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
const options = { firstSeed: Number(values.seed), schedules: Number(values.schedules) }
const chosen = mutants.filter(({ name }) => values.mutant === 'all' || name === values.mutant)
if (values.mutant === undefined) await simulate()
else if (chosen.length > 0) await simulateMutants()
else {
  process.stderr.write(`no mutant is named ${values.mutant}; there are ${mutants.map(({ name }) => name).join(', ')}\n`)
  process.exitCode = 64
}

async function simulate(): Promise<void> {
  const summary = await summarise({ ...options, stopsAtViolation: true })
  if (summary.violations.length > 0 || values.trace) {
    const seed = summary.violations[0]?.seed ?? options.firstSeed
    const lines: string[] = []
    const result = await runSchedule(seed, { onTrace: (line) => void lines.push(line) })
    process.stderr.write(`${lines.slice(values.trace ? 0 : -60).join('\n')}\nseed ${seed}: ${result.violation ?? 'no violation'}\n`)
  }
  process.stdout.write(`${JSON.stringify(summary)}\n`)
  process.exitCode = summary.violations.length > 0 ? 1 : 0
}

/** A caught mutant is what is wanted: the exit code is 1 when one was not, or not by its invariant. */
async function simulateMutants(): Promise<void> {
  for (const mutant of chosen) {
    const { schedules, violations } = await simulateMutant(mutant, options)
    const [found] = violations
    const isCaught = found !== undefined && mutant.caughtBy.includes(found.rule)
    if (!isCaught) process.exitCode = 1
    const sentence = found?.violation.split('\n')[0]?.slice(0, 160)
    process.stdout.write(
      `${mutant.name}: ${isCaught ? 'caught' : 'NOT CAUGHT'} after ${schedules} schedules: ${sentence ?? 'nothing noticed'}\n`,
    )
  }
}
