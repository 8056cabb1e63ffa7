/** Dead letters as text and as JSON. */
import type { DeadEvent } from '../dead-letters/dead-event.ts'
import type { DeadLetterRow } from '../dead-letters/dead-letters.ts'
import type { Redriven } from '../dead-letters/redrive.ts'
import { printable } from '../text/printable.ts'
import { own } from '../own.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import { tableOf } from '../sinks/traits.ts'

const errorCharsShown = 100
const payloadCharsShown = 4000

export function letterJson(letter: DeadLetterRow): Record<string, unknown> {
  const { offset, payload, createdAt, resolvedAt, ...rest } = letter
  return {
    ...rest,
    offset: String(offset),
    payload: payload === null ? null : payload.toString('utf8'),
    createdAt: createdAt.toISOString(),
    resolvedAt: resolvedAt?.toISOString() ?? null,
  }
}

export function listText(letters: readonly DeadLetterRow[], total: number): string {
  if (letters.length === 0) return 'no dead letters\n'
  const head = ['id', 'place', 'task', 'made', 'tries', 'state', 'error']
  const rows = letters.map((letter) => [
    letter.id,
    `${letter.topic}/${letter.partition}@${letter.offset}${letter.isJob ? `#${letter.ordinal}` : ''}`,
    letter.task ?? '(whole event)',
    letter.createdAt.toISOString(),
    String(letter.attempts),
    letter.resolution ?? 'open',
    oneLine(letter.error),
  ])
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length)))
  const lines = [head, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
  const more = total > letters.length ? `${letters.length} of ${total}; --limit shows more\n` : ''
  return `${lines.join('\n')}\n${more}`
}

export function letterText(letter: DeadLetterRow, event: DeadEvent, now: Redriven | undefined): string {
  const { id, topic, partition, offset, ordinal, task, isJob, error, payload, isPayloadCut, createdAt, attempts, traceparent } = letter
  const text = (payload ?? Buffer.alloc(0)).toString('utf8')
  const cut = isPayloadCut || text.length > payloadCharsShown ? ' (cut)' : ''
  const lines = [
    `dead letter ${id}: ${topic}/${partition}@${offset}, ${task === null ? 'the whole event' : isJob ? `job ${ordinal} of task ${task}` : `all jobs of task ${task}`}`,
    `made ${createdAt.toISOString()}, tried ${attempts} ${attempts === 1 ? 'time' : 'times'}`,
    `error: ${error}`,
    ...(traceparent === null ? [] : [`trace: ${traceparent}`]),
    stateText(letter),
    `event: ${event.from === 'nowhere' ? event.why : event.from === 'log' ? 'still in the event log' : 'no longer in the event log; the letter kept its value'}`,
    ...(now === undefined ? [] : [`redriven now: ${redrivenText(now)}`]),
    `${isJob ? 'the line for the table' : 'value'}${cut}:`,
    text.slice(0, payloadCharsShown),
    '',
  ]
  return printable(lines.join('\n'))
}

/** What a redrive means for tables whose merge depends on the order of jobs; a sentence a task. */
export function mergeNotes({ tasks }: Pipeline, redriven: readonly (string | null)[]): string[] {
  const isAll = redriven.includes(null)
  return tasks.flatMap((task) => {
    const { name } = task
    const { columns = {}, upsertOn, merge = {} } = tableOf(task) ?? {}
    if (upsertOn === undefined || !(isAll || redriven.includes(name))) return []
    const values = Object.keys(columns).filter((column) => !upsertOn.includes(column))
    const ordered = values.filter((column) => ['first', 'last'].includes(own(merge, column) ?? 'last'))
    if (ordered.length === 0) return []
    return [
      `task ${name} merges ${ordered.join(', ')} by the order of jobs: a redriven job counts as the latest of its key, whenever its event was`,
    ]
  })
}

function stateText({ resolution, resolvedAt, reason }: DeadLetterRow): string {
  if (resolution === null || resolvedAt === null) return 'state: open'
  return `state: ${resolution} ${resolvedAt.toISOString()}${reason === null ? '' : `, because: ${reason}`}`
}

function redrivenText(now: Redriven): string {
  if (now.outcome === 'redriven') return `it would be written, ${now.jobs} ${now.jobs === 1 ? 'job' : 'jobs'}`
  return now.outcome === 'failed' ? `it would fail: ${now.error}` : 'another command is at it'
}

function oneLine(text: string): string {
  const line = printable(text.replaceAll(/\s+/g, ' '))
  return line.length > errorCharsShown ? `${line.slice(0, errorCharsShown - 1)}…` : line
}
