/**
 * Redrives one dead letter: converts its event again with the pipeline as it is now, and writes what was not written then, in
 * the transaction that notes the letter as redriven. All of a letter or nothing of it.
 *
 * A letter of one job is written by its ordinal. Since the other jobs of its event are written already, a conversion that
 * now gives other jobs than then is trusted only when the task gives single jobs, or when `isByOrdinal` says so.
 */
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { EventLog, EventRecord } from '../events/event-log.ts'
import { JobLines } from '../grid/segment.ts'
import { prepareEvents } from '../ingest/converter.ts'
import type { DeadLine } from '../ingest/converter.ts'
import { converterOf } from '../ingest/converter-of.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { At, Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import type { RunningSink } from '../sinks/running-sink.ts'
import { isDurable } from '../sinks/traits.ts'
import type { DeadLetterRow, DeadLetters } from './dead-letters.ts'
import { eventOf } from './dead-event.ts'
import type { DeadEvent } from './dead-event.ts'

export interface RedrivePorts<Tx extends LedgerTransaction = LedgerTransaction> {
  readonly letters: DeadLetters<Tx>
  readonly log: EventLog
  /** The sinks of durable tasks, by task. */
  readonly sinks: ReadonlyMap<string, RunningSink>
}

export interface RedriveOptions {
  readonly pipeline: Pipeline
  readonly eventBytesMax: number
  readonly segmentBytesMax: number
  /** Write and roll back. */
  readonly isDry: boolean
  /** Take the job at the letter's ordinal though the conversion of its event changed. */
  readonly isByOrdinal: boolean
}

/** `taken`: it is no longer open, or another redrive is at it. */
export type Redriven =
  | { readonly outcome: 'redriven'; readonly jobs: number; readonly from: 'log' | 'letter' }
  | { readonly outcome: 'failed'; readonly error: string }
  | { readonly outcome: 'taken' }

/** The jobs to write for a letter, by task. */
interface Remade {
  readonly jobs: readonly JobLines[]
  readonly from: 'log' | 'letter'
}

/** Throws what is no fault of the letter: FB_SCHEMA, and servers that do not answer. */
export async function redriveLetter<Tx extends LedgerTransaction>(
  letter: DeadLetterRow,
  ports: RedrivePorts<Tx>,
  options: RedriveOptions,
): Promise<Redriven> {
  const { letters, log, sinks } = ports
  try {
    const { source } = options.pipeline
    const event = await eventOf(letter, log, source.topic)
    if (event.from !== 'nowhere') await prepareEvents(source, [event.record], options.eventBytesMax)
    const { jobs, from } = remake(letter, event, sinks, options)
    const write = async (transaction: Tx) => {
      for (const lines of jobs) await give(sinks.get(lines.task)!, transaction, lines, options.isDry)
    }
    if (!(await letters.redrive(letter.id, write, options.isDry))) return { outcome: 'taken' }
    return { outcome: 'redriven', jobs: jobs.reduce((sum, { count }) => sum + count, 0), from }
  } catch (error) {
    if (!isForebayError(error) || (error.code !== 'FB_BAD_JOB' && error.code !== 'FB_BAD_EVENT')) throw error
    if (!options.isDry) await letters.fail(letter.id, sentenceOf(error))
    return { outcome: 'failed', error: sentenceOf(error) }
  }
}

/** What cannot be taken back is not delivered by a dry run. */
async function give(sink: RunningSink, transaction: LedgerTransaction, lines: JobLines, isDry: boolean): Promise<void> {
  if (sink.delivery === 'exactly-once') return sink.write(transaction, [lines])
  const outcome = isDry ? undefined : await sink.deliver([lines], new AbortController().signal)
  const [dead] = outcome?.dead ?? []
  if (dead !== undefined) throw refusal(dead.error)
}

/** Throws FB_BAD_EVENT or FB_BAD_JOB when it cannot be done. */
function remake(letter: DeadLetterRow, event: DeadEvent, sinks: ReadonlyMap<string, unknown>, options: RedriveOptions): Remade {
  const tasks = options.pipeline.tasks.filter(({ name }) => sinks.has(name) && (letter.task === null || letter.task === name))
  if (tasks.length === 0) throw refusal(lostTask(letter, options.pipeline))
  if (event.from === 'nowhere') {
    if (!letter.isJob || letter.payload === null || letter.isPayloadCut) throw refusal(event.why)
    return { jobs: [linesOf(letter, tasks[0]!.name, [letter.payload.toString('utf8')])], from: 'letter' }
  }
  const made = tasks.map((task) => ({ task: task.name, ...convert(event, letter, task, options) }))
  if (!letter.isJob)
    return { jobs: made.flatMap(({ task, lines }) => (lines.length === 0 ? [] : [linesOf(letter, task, lines)])), from: event.from }
  const [{ task, lines, isList }] = made as [(typeof made)[0]]
  const line = lines[letter.ordinal]
  if (line !== letter.payload?.toString('utf8') && (isList || letter.ordinal > 0) && !options.isByOrdinal) {
    throw refusal(
      `the conversion now gives other jobs for this event than when it was refused (job ${letter.ordinal} is not the same), and the others of it are written already: write it by hand and discard the letter, or take the job at its ordinal with --by-ordinal`,
    )
  }
  return { jobs: line === undefined ? [] : [linesOf(letter, task, [line])], from: event.from }
}

function convert(
  { record, from }: { record: EventRecord; from: 'log' | 'letter' },
  { partition }: DeadLetterRow,
  task: TaskDefinition,
  { pipeline, eventBytesMax, segmentBytesMax }: RedriveOptions,
): { lines: string[]; isList: boolean } {
  let isList = false
  const placeOf = (at: At) => (from === 'log' ? at : withoutRecord(at))
  const noting: TaskDefinition = {
    ...task,
    convert: (event, at) => {
      const made = task.convert(event, placeOf(at))
      isList = Array.isArray(made)
      return made
    },
  }
  const { source } = pipeline
  const decode = { decode: (value: Buffer | null, at: At) => source.decode.decode(value, placeOf(at)) }
  const converter = converterOf({ ...pipeline, source: { ...source, decode } }, [noting], {
    queues: 1,
    eventBytesMax,
    segmentBytesMax,
    tracked: [task.name],
  })
  const { lines } = converter.convert(record, partition)
  const dead = lines.find(({ section }) => section % 2 === 1)
  if (dead !== undefined) throw refusal((JSON.parse(dead.text) as DeadLine).error)
  return { lines: lines.map(({ text }) => text), isList }
}

/** A letter keeps neither key nor time of the record: a conversion that needs them fails instead of guessing. */
function withoutRecord({ topic, partition, offset }: At): At {
  const missing = (what: string): never => {
    throw refusal(`the event log no longer holds the event, and its letter does not know the record's ${what}`)
  }
  return {
    topic,
    partition,
    offset,
    get key() {
      return missing('key')
    },
    get keyBytes() {
      return missing('key')
    },
    get headers() {
      return missing('headers')
    },
    get timestampMs() {
      return missing('time')
    },
  }
}

function linesOf({ partition, offset, ordinal, isJob, createdAt }: DeadLetterRow, task: string, lines: readonly string[]): JobLines {
  const base = { offset, timeMs: createdAt.getTime() }
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
  const zeros = new Uint32Array(lines.length)
  return new JobLines({ task, kind: 'job', partition, queue: 0 }, bytes, base, zeros, zeros, isJob ? ordinal : 0)
}

function lostTask({ task }: DeadLetterRow, { tasks }: Pipeline): string {
  if (task === null) return 'no task that this configuration runs writes into a table'
  const found = tasks.find(({ name }) => name === task)
  if (found !== undefined && isDurable(found))
    return `task ${task} is left out by tasksOnly of this configuration: redrive with one that runs the task`
  return found !== undefined
    ? `task ${task} keeps nothing that could be written later: discard the letter`
    : `the pipeline has no task ${task} any more: write the jobs by hand, or discard the letter`
}

function refusal(sentence: string): ForebayError {
  return new ForebayError('FB_BAD_JOB', sentence)
}
