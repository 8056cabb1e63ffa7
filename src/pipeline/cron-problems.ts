import { parseCron, timezoneProblem } from '../schedule/cron-expression.ts'
import { isFields, shown, unknownFields } from '../text/fields.ts'
import type { Fields } from '../text/fields.ts'
import { parseDuration } from '../text/units.ts'

const optionFields = ['timezone', 'missed', 'missedAfter', 'timeout', 'attemptsMax']
const policies = ['skip', 'once', 'all']
const tasksMax = 32
const timeoutMsMax = 3_600_000
const attemptsMax = 100
const hourMs = 3_600_000

/** What is wrong with the cron tasks of a pipeline, one clause each. `isName` judges names, `taken` are those of the other tasks. */
export function cronProblems(written: unknown, isName: (name: string) => boolean, taken: readonly string[]): string[] {
  if (written === undefined) return []
  if (!isFields(written)) return ['cron must name cron tasks: cron: { closeDay: cron(…) }']
  const entries = Object.entries(written)
  if (entries.length > tasksMax) return [`cron names ${entries.length} tasks, more than ${tasksMax}`]
  return entries.flatMap(([name, task]) => {
    const at = `cron.${name}`
    if (!isName(name)) return [`${at}: a task's name is a letter followed by at most 47 letters, digits, dashes and underscores`]
    if (taken.includes(name)) return [`${at}: tasks.${name} has the same name; give one of them another`]
    return taskProblems(at, task)
  })
}

function taskProblems(at: string, task: unknown): string[] {
  if (!isFields(task) || !isFields(task.options)) return [`${at} must be cron(expression, options, function)`]
  const { expression, options, run } = task
  const problems = unknownFields(options, optionFields, `${at}.`)
  const parsed = parseCron(expression)
  if ('problem' in parsed) problems.push(`${at}.expression: ${parsed.problem}`)
  const zone = options.timezone === undefined ? undefined : timezoneProblem(options.timezone)
  if (zone !== undefined) problems.push(`${at}.timezone: ${zone}`)
  if (options.missed !== undefined && !policies.includes(options.missed as string)) {
    problems.push(`${at}.missed must be one of ${policies.join(', ')}, not ${shown(options.missed)}`)
  }
  const attempts = options.attemptsMax
  if (attempts !== undefined && !(Number.isSafeInteger(attempts) && (attempts as number) >= 1 && (attempts as number) <= attemptsMax)) {
    problems.push(`${at}.attemptsMax must be a whole number from 1 to ${attemptsMax}, not ${shown(attempts)}`)
  }
  if (typeof run !== 'function') problems.push(`${at} must be given a function to run`)
  return [
    ...problems,
    ...durationProblems(at, options, 'timeout', [1, timeoutMsMax, 'between 1ms and 1h']),
    ...durationProblems(at, options, 'missedAfter', [1000, 24 * hourMs, 'between 1s and 24h']),
  ]
}

function durationProblems(at: string, options: Fields, field: string, [lowMs, highMs, range]: readonly [number, number, string]): string[] {
  if (options[field] === undefined) return []
  const parsed = parseDuration(options[field])
  if ('problem' in parsed) return [`${at}.${field}: ${parsed.problem}`]
  return parsed.value < lowMs || parsed.value > highMs ? [`${at}.${field} must lie ${range}`] : []
}
