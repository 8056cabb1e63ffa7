/**
 * A cron expression worked out by node-cron: which times of day, and which days. Knows no time zone.
 */
import nodeCron from 'node-cron'

/** Each list rising and without a repetition. */
export interface CronExpression {
  readonly seconds: readonly number[]
  readonly minutes: readonly number[]
  readonly hours: readonly number[]
  /** Whether the expression has times on a day of the calendar; `month` counts from 1. */
  isDay(year: number, month: number, day: number): boolean
}

export type ParsedCron = { readonly value: CronExpression } | { readonly problem: string }

/** The expression, or the clause that says what is wrong with it. Five fields, or six with seconds first. */
export function parseCron(text: unknown): ParsedCron {
  if (typeof text !== 'string') return { problem: `a cron expression is a string such as '0 30 16 * * 1-5', not ${JSON.stringify(text)}` }
  const { valid, fields, errors } = nodeCron.validateDetailed(text)
  if (!valid || fields === undefined) {
    const clauses = errors.map(({ field, message }) => (field === 'expression' ? message : `${field}: ${message}`))
    return {
      problem: `'${text}' is no cron expression (second minute hour day-of-month month day-of-week): ${clauses.join('; ') || 'it cannot be read'}`,
    }
  }
  const [seconds, minutes, hours] = [rising(fields.second), rising(fields.minute), rising(fields.hour)]
  const months = new Set(fields.month)
  const matches = matcherOf(text)
  const isDay = (year: number, month: number, day: number) =>
    months.has(month) && matches(new Date(Date.UTC(year, month - 1, day, hours[0], minutes[0], seconds[0])))
  return { value: { seconds, minutes, hours, isDay } }
}

/** The clause that says what is wrong with the name of a time zone, or undefined. */
export function timezoneProblem(timezone: unknown): string | undefined {
  try {
    if (typeof timezone === 'string' && timezone !== '') new Intl.DateTimeFormat('en', { timeZone: timezone })
    else throw new RangeError('no name')
    return undefined
  } catch {
    return `${JSON.stringify(timezone)} is no time zone; name one as the IANA database does, such as 'America/New_York' or 'UTC'`
  }
}

/** node-cron's own word on a moment, with the fields read in UTC. */
function matcherOf(expression: string): (date: Date) => boolean {
  const task = nodeCron.createTask(expression, () => undefined, { timezone: 'UTC' })
  // It is never started; left in node-cron's register it would stay in memory.
  void task.destroy()
  return (date) => task.match(date)
}

function rising(values: readonly number[]): number[] {
  return [...new Set(values)].toSorted((a, b) => a - b)
}
