import type { Command } from 'commander'
import { fingerprintOf } from '../config/fingerprint-of.ts'
import { allowLeaving, skipMissed, readTaskPlaces, withdraw } from '../epochs/operator-words.ts'
import type { TaskPlace } from '../epochs/operator-words.ts'
import { known } from '../epochs/routing-cut.ts'
import { taskDifferences } from '../epochs/task-set.ts'
import { requester } from './operator.ts'
import { openTarget, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface TasksOptions extends TargetOptions {
  readonly json?: boolean
}

const listExamples = `
Examples:
  forebay tasks list                              of the run in this folder, or config/forebay.yaml
  forebay tasks list -c config/forebay.yaml --json`
const dropExamples = `
Examples:
  forebay tasks drop minuteCandle -c config/forebay.yaml       then start nodes without it (tasksOnly, or a new pipeline file)
  forebay tasks drop minuteCandle --withdraw

The next epoch may leave the task out, once. The task keeps its place: when a node brings it back, it goes on there, and events are read again from
there on, while the log has them. Nothing is applied twice.`
const skipExamples = `
Examples:
  forebay tasks skip minuteCandle -c config/forebay.yaml

For a task that is left out: the events it has missed so far are given up, its place moves up to the floors. When it comes back, it goes on there.`

/** Adds `forebay tasks list | drop | skip`. */
export function addTasks(program: Command): void {
  const tasks = program
    .command('tasks')
    .description('the tasks of a pipeline in the ledger: leaving one out, and what becomes of it')
    .addHelpText('after', `${listExamples}\n  forebay tasks drop minuteCandle -c config/forebay.yaml`)
  withTarget(tasks.command('list'))
    .description('show the tasks that run, those that are away and where they stand')
    .option('--json', 'print JSON')
    .addHelpText('after', listExamples)
    .action(list)
  withTarget(tasks.command('drop'))
    .description('let the next epoch leave a durable task out, once')
    .argument('<tasks...>', 'names of tasks')
    .option('--withdraw', 'take it back, if no epoch has opened yet')
    .option('--json', 'print JSON')
    .addHelpText('after', dropExamples)
    .action(drop)
  withTarget(tasks.command('skip'))
    .description('give up what a task that is left out has missed so far')
    .argument('<tasks...>', 'names of tasks')
    .option('--json', 'print JSON')
    .addHelpText('after', skipExamples)
    .action(skip)
}

async function list(options: TasksOptions): Promise<void> {
  const { pipeline, settings } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  const { places, active, permissions } = await database.use('reading the tasks', async (client) => ({
    places: await readTaskPlaces(client, pipeline.name),
    ...(await known(client, pipeline.name)),
  }))
  const mayLeave = permissions.flatMap(({ kind, subject }) => (kind === 'leave' ? [subject] : []))
  const difference = taskDifferences(active.fingerprint, fingerprintOf(settings, pipeline))
  if (options.json === true)
    return print({ pipeline: pipeline.name, epoch: active.epoch, tasks: places.map(placeJson), mayLeave, difference: difference || null })
  const lines = [
    ...places.map(placeText),
    ...mayLeave.map((task) => `the next epoch may leave ${task} out`),
    ...(difference === '' ? [] : [`this configuration ${difference}`]),
  ]
  process.stdout.write(`pipeline ${pipeline.name}, epoch ${active.epoch}\n${lines.join('\n')}\n`)
}

function placeJson({ behind, ...place }: TaskPlace) {
  return { ...place, behind: behind.map(({ partition, place: at, floor }) => ({ partition, place: String(at), floor: String(floor) })) }
}

function placeText({ task, isDurable, isActive, behind }: TaskPlace): string {
  if (isActive) return `${task}: runs${isDurable ? '' : ', latest values only'}`
  if (behind.length === 0) return `${task}: left out, no floor has passed it yet`
  return `${task}: left out; ${behind.map(({ partition, place, floor }) => `partition ${partition} at ${place}, floor ${floor}`).join('; ')}`
}

async function drop(tasks: string[], options: TasksOptions & { readonly withdraw?: boolean }): Promise<void> {
  const { pipeline, settings } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  if (options.withdraw === true) {
    const gone = await database.use('withdrawing a permission', (client) =>
      withdraw(client, pipeline.name, { kind: 'leave', subjects: tasks }),
    )
    if (options.json === true) return print({ pipeline: pipeline.name, withdrawn: gone })
    process.stdout.write(
      gone.length > 0 ? `withdrawn: no epoch may leave out ${gone.join(', ')}\n` : 'nothing was allowed, so nothing is withdrawn\n',
    )
    return
  }
  const { active } = await database.use('allowing tasks to leave', (client) => allowLeaving(client, pipeline.name, tasks, requester()))
  if (options.json === true) return print({ pipeline: pipeline.name, epoch: active.epoch, mayLeave: tasks })
  process.stdout.write(
    `the epoch after ${active.epoch} may leave out ${tasks.join(', ')}, once: start a node without ${tasks.length === 1 ? 'it' : 'them'}\n`,
  )
}

async function skip(tasks: string[], options: TasksOptions): Promise<void> {
  const { pipeline, settings } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  await database.use('giving up what tasks missed', (client) => skipMissed(client, pipeline.name, tasks))
  if (options.json === true) return print({ pipeline: pipeline.name, skipped: tasks })
  process.stdout.write(`given up: what ${tasks.join(', ')} missed so far; the place moves up to the floors\n`)
}

function print(value: object): void {
  process.stdout.write(`${jsonText(value)}\n`)
}
