import { type Command, InvalidArgumentError } from 'commander'
import type { DeadLetterParts } from '../connect/dead-letters.ts'
import { eventOf, keyOf } from '../dead-letters/dead-event.ts'
import type { DeadLetterFilter, DeadLetterRow } from '../dead-letters/dead-letters.ts'
import { redriveLetter } from '../dead-letters/redrive.ts'
import type { Redriven, RedriveOptions } from '../dead-letters/redrive.ts'
import { traceparentOf } from '../pipeline/event-headers.ts'
import { ForebayError } from '../errors.ts'
import { parseTime } from '../events/log-point.ts'
import { letterJson, letterText, listText, mergeNotes } from './dead-letters-text.ts'
import { printable } from '../text/printable.ts'
import { stopOnSignal } from './operator.ts'
import { paint } from '../text/paint.ts'
import { openTarget, withTarget } from './target.ts'
import type { Target, TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface FilterOptions extends TargetOptions {
  readonly id?: readonly string[]
  readonly task?: string
  readonly error?: string
  readonly from?: Date
  readonly to?: Date
  readonly key?: string
  readonly partition?: number
  readonly offset?: bigint
  readonly all?: boolean
  readonly json?: boolean
}

interface ListOptions extends FilterOptions {
  readonly limit: number
}

interface ChangeOptions extends FilterOptions {
  readonly dryRun?: boolean
  readonly byOrdinal?: boolean
  readonly reason?: string
}

/** Letters that one command takes at most, the first in the order of the log; it warns when there are more. */
const lettersMax = 100_000
/** Letters in memory at a time: each may hold a large job. */
const lettersOfPage = 50
const linesDefault = 50
const wholeEvents = 'none'

const listExamples = `
Examples:
  forebay dead-letters list
  forebay dead-letters list --task storeTrade --error "out of range" --from 2026-11-23T09:00:00Z
  forebay dead-letters list --key SPY --json`
const redriveExamples = `
Examples:
  forebay dead-letters redrive --task storeTrade --dry-run    what would happen: written and rolled back
  forebay dead-letters redrive --task storeTrade
  forebay dead-letters redrive --id 17 18

Each letter is converted again by the pipeline as it is now and written in one transaction that also notes it as redriven: once,
whatever is killed. A letter that fails again stays open with its new error. Rows of merged tables are merged as if they came now.
The exit code is 65 when letters failed again.`
const discardExamples = `
Examples:
  forebay dead-letters discard --id 17 --reason "test event of the feed"
  forebay dead-letters discard --task none --to 2026-11-01T00:00:00Z --reason "before the launch" --dry-run

A discarded letter stays in forebay.dead_letters with its reason while the log has its event, and for
database.resolvedLettersKept (30 days); list --all shows it.`

/** Adds `forebay dead-letters`. */
export function addDeadLetters(program: Command): void {
  const group = program.command('dead-letters').description('events and jobs that could not be processed: list, show, redrive, discard')
  withFilter(group.command('list'))
    .description('list open dead letters, in the order of the log')
    .option('--all', 'resolved ones too')
    .option('--limit <count>', 'lines at most', wholeNumber, linesDefault)
    .addHelpText('after', listExamples)
    .action(list)
  withTarget(group.command('show'))
    .description('show one dead letter: its error, its event, and what the pipeline makes of it now')
    .argument('<id>', 'as list shows it', idOf)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  forebay dead-letters show 17\n  forebay dead-letters show 17 --json')
    .action(show)
  withFilter(group.command('redrive'))
    .description('process open dead letters again, each exactly once')
    .option('--all', 'every open letter')
    .option('--dry-run', 'try it and roll back')
    .option('--by-ordinal', 'take the job at the letter’s place although the conversion of its event changed')
    .addHelpText('after', redriveExamples)
    .action(redrive)
  withFilter(group.command('discard'))
    .description('give up open dead letters')
    .option('--all', 'every open letter')
    .requiredOption('--reason <text>', 'why; kept with the letter')
    .option('--dry-run', 'only say how many')
    .addHelpText('after', discardExamples)
    .action(discard)
}

function withFilter(command: Command): Command {
  return withTarget(command)
    .option('--id <id...>', 'these letters', (text: string, before: string[] | undefined) => [...(before ?? []), idOf(text)])
    .option('--task <task>', `letters of this task; "${wholeEvents}": of events that could not be decoded`)
    .option('--error <text>', 'part of the error')
    .option('--from <time>', 'made at or after, ISO 8601 with zone', timeOf)
    .option('--to <time>', 'made at or before', timeOf)
    .option('--key <key>', 'the key of the event; asks the event log for each letter')
    .option('--partition <number>', 'source partition', (text) => Number(digits(text)))
    .option('--offset <offset>', 'offset of the event', (text) => BigInt(digits(text)))
    .option('--json', 'print JSON')
}

async function list(options: ListOptions): Promise<void> {
  await using session = await open(options)
  const isOpenOnly = options.all !== true
  const found = await session.find(options, isOpenOnly, options.key === undefined ? options.limit : lettersMax)
  const ids = found.slice(0, options.limit)
  if (options.json === true) {
    let isFirst = true
    for await (const letter of session.lettersOf(ids)) {
      print(`${isFirst ? '[' : ','}\n${jsonText(letterJson(letter)).replace(/^/gm, '  ')}`)
      isFirst = false
    }
    return print(isFirst ? '[]\n' : '\n]\n')
  }
  const shown: DeadLetterRow[] = []
  for await (const letter of session.lettersOf(ids)) shown.push({ ...letter, payload: null })
  const total = options.key === undefined ? await session.parts.letters.count(filterOf(options, isOpenOnly)) : found.length
  print(listText(shown, total))
}

async function show(id: string, options: FilterOptions): Promise<void> {
  await using session = await open(options)
  const [found] = await session.parts.letters.read([id])
  if (found === undefined) throw new ForebayError('FB_USAGE', `pipeline ${session.target.pipeline.name} has no dead letter ${id}`)
  const event = await eventOf(found, session.parts.log, session.target.pipeline.source.topic)
  // A refused job does not know the trace of its event.
  const letter = { ...found, traceparent: found.traceparent ?? (event.from === 'log' ? traceparentOf(event.record) : null) }
  let now: Redriven | undefined
  if (letter.resolvedAt === null) now = await redriveLetter(letter, await session.parts.forRedrive(), session.redriving(true, false))
  print(
    options.json === true
      ? `${jsonText({ ...letterJson(letter), event: event.from, now: now ?? null })}\n`
      : letterText(letter, event, now),
  )
}

async function redrive(options: ChangeOptions): Promise<void> {
  demandFilter(options)
  await using session = await open(options)
  using stop = stopOnSignal()
  const ids = await session.find(options, true, lettersMax)
  const ports = await session.parts.forRedrive()
  const isDry = options.dryRun === true
  const results: (Redriven & Pick<DeadLetterRow, 'id' | 'task'>)[] = []
  let trouble: unknown
  for await (const letter of session.lettersOf(ids)) {
    if (stop.signal.aborted) break
    const { id, task } = letter
    let result: Redriven
    try {
      result = await redriveLetter(letter, ports, session.redriving(isDry, options.byOrdinal === true))
    } catch (error) {
      // No fault of this letter, so the next ones would meet it too; what is done already is still told.
      trouble = error
      break
    }
    results.push({ ...result, id, task })
    if (result.outcome === 'failed' && options.json !== true) process.stderr.write(`${id}: ${printable(result.error)}\n`)
  }
  const count = (outcome: Redriven['outcome']) => results.filter((result) => result.outcome === outcome).length
  const jobs = results.reduce((sum, result) => sum + (result.outcome === 'redriven' ? result.jobs : 0), 0)
  const [redriven, failed, taken, left] = [count('redriven'), count('failed'), count('taken'), ids.length - results.length]
  const notes = mergeNotes(
    session.target.pipeline,
    results.map(({ task }) => task),
  )
  if (options.json === true) {
    const each = results.map(({ task: _, ...result }) => result)
    print(`${jsonText({ isDryRun: isDry, redriven, failed, taken, left, jobs, notes, letters: each })}\n`)
  } else {
    const verb = isDry ? 'would be redriven (tried and rolled back)' : 'redriven'
    const rest = [
      failed > 0 ? `, ${failed} failed again` : '',
      taken > 0 ? `, ${taken} taken by another command` : '',
      left > 0 ? `, ${left} left as they were` : '',
    ]
    print(`${redriven} of ${ids.length} dead letters ${verb}, ${jobs} jobs${rest.join('')}\n${notes.map((note) => `${note}\n`).join('')}`)
  }
  if (trouble !== undefined) throw trouble
  if (failed > 0)
    throw new ForebayError(
      'FB_BAD_JOB',
      `${failed} of ${ids.length} dead letters failed again${isDry ? '' : ' and stay open with their new error'}`,
    )
}

async function discard(options: ChangeOptions & { readonly reason: string }): Promise<void> {
  demandFilter(options)
  if (options.reason.trim() === '') throw new ForebayError('FB_USAGE', '--reason is empty; say why, it is kept with the letters')
  await using session = await open(options)
  const ids = await session.find(options, true, lettersMax)
  const isDry = options.dryRun === true
  const discarded = isDry ? ids.length : await session.parts.letters.discard(ids, options.reason)
  if (options.json === true) print(`${jsonText({ isDryRun: isDry, discarded, ids })}\n`)
  else print(`${discarded} dead letters ${isDry ? 'would be ' : ''}discarded\n`)
}

interface Session extends AsyncDisposable {
  readonly target: Target
  readonly parts: DeadLetterParts
  redriving(isDry: boolean, isByOrdinal: boolean): RedriveOptions
  /** Ids of letters, in the order of the log. */
  find(options: FilterOptions, isOpenOnly: boolean, countMax: number): Promise<readonly string[]>
  /** A page in memory at a time. */
  lettersOf(ids: readonly string[]): AsyncIterable<DeadLetterRow>
}

async function open(options: FilterOptions): Promise<Session> {
  const target = await openTarget(options)
  const { settings, pipeline } = target
  const { openDeadLetters } = await import('../connect/dead-letters.ts')
  const parts = await openDeadLetters(settings, pipeline, warn)
  const lettersOf = (ids: readonly string[]) => inPages(parts, ids)
  return {
    target,
    parts,
    lettersOf,
    redriving: (isDry, isByOrdinal) => ({
      pipeline,
      eventBytesMax: settings.eventBytesMax,
      segmentBytesMax: settings.grid.segmentBytesMax,
      isDry,
      isByOrdinal,
    }),
    find: async (filter, isOpenOnly, countMax) => {
      const ids = await parts.letters.ids(filterOf(filter, isOpenOnly), countMax)
      if (ids.length === lettersMax) {
        const total = await parts.letters.count(filterOf(filter, isOpenOnly))
        if (total > lettersMax)
          warn(`only the first ${lettersMax} of ${total} letters are taken; --from, --to, --partition or --task reach the others`)
      }
      if (filter.key === undefined) return ids
      await parts.checkLog()
      const ofKey: string[] = []
      for await (const letter of lettersOf(ids)) {
        const event = await eventOf(letter, parts.log, pipeline.source.topic)
        if ((await keyOf(event, pipeline, letter.partition)) === filter.key) ofKey.push(letter.id)
      }
      return ofKey
    },
    [Symbol.asyncDispose]: () => parts[Symbol.asyncDispose](),
  }
}

async function* inPages({ letters }: DeadLetterParts, ids: readonly string[]): AsyncIterable<DeadLetterRow> {
  for (let from = 0; from < ids.length; from += lettersOfPage) yield* await letters.read(ids.slice(from, from + lettersOfPage))
}

function warn(sentence: string): void {
  process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${sentence}\n`)
}

function filterOf({ id, task, error, from, to, partition, offset }: FilterOptions, isOpenOnly: boolean): DeadLetterFilter {
  return { ids: id, task: task === wholeEvents ? null : task, error, from, to, partition, offset, isOpenOnly }
}

function demandFilter({ id, task, error, from, to, key, partition, offset, all }: FilterOptions): void {
  if (all === true || [id, task, error, from, to, key, partition, offset].some((filter) => filter !== undefined)) return
  throw new ForebayError(
    'FB_USAGE',
    'say which letters: by --id, --task, --error, --from, --to, --key, --partition or --offset, or --all of them',
  )
}

function print(text: string): void {
  process.stdout.write(text)
}

function digits(text: string): string {
  if (!/^\d{1,18}$/.test(text)) throw new InvalidArgumentError('expected a whole number')
  return text
}

function idOf(text: string): string {
  return String(BigInt(digits(text)))
}

function wholeNumber(text: string): number {
  const count = Number(digits(text))
  if (count < 1 || count > lettersMax) throw new InvalidArgumentError(`expected a number from 1 to ${lettersMax}`)
  return count
}

function timeOf(text: string): Date {
  const timeMs = parseTime(text)
  if (timeMs === undefined) throw new InvalidArgumentError('expected a time as 2026-11-23T09:00:00Z or with an offset')
  return new Date(timeMs)
}
