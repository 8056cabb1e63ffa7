/** Many schedules, summed up. */
import { runSchedule } from './schedule.ts'

export interface Summary {
  readonly schedules: number
  readonly steps: number
  readonly medianSteps: number
  readonly medianFaults: number
  readonly seconds: number
  readonly counts: Readonly<Record<string, number>>
  readonly violations: readonly { seed: number; rule: string; violation: string }[]
}

export interface SummaryOptions {
  readonly firstSeed: number
  readonly schedules: number
  readonly stopsAtViolation?: boolean
}

export async function summarise({ firstSeed, schedules, stopsAtViolation = false }: SummaryOptions): Promise<Summary> {
  const startMs = performance.now()
  const counts: Record<string, number> = {}
  const steps: number[] = []
  const faults: number[] = []
  const violations: { seed: number; rule: string; violation: string }[] = []
  for (let seed = firstSeed; seed < firstSeed + schedules; seed++) {
    const result = await runSchedule(seed)
    steps.push(result.steps)
    faults.push(result.faults)
    for (const [name, count] of Object.entries(result.counts)) counts[name] = (counts[name] ?? 0) + count
    if (result.violation !== undefined) violations.push({ seed, rule: result.rule ?? '', violation: result.violation })
    if (stopsAtViolation && violations.length > 0) break
    // Whoever runs this gets a turn between two schedules.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const seconds = Math.round(performance.now() - startMs) / 1000
  return {
    schedules: steps.length,
    steps: steps.reduce((a, b) => a + b, 0),
    medianSteps: median(steps),
    medianFaults: median(faults),
    seconds,
    counts,
    violations,
  }
}

function median(of: readonly number[]): number {
  return of.toSorted((a, b) => a - b)[Math.floor(of.length / 2)] ?? 0
}
