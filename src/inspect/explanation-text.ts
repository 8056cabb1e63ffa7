/** An explanation for a terminal. Pure; `paint` colours. */
import type { Verdict } from '../status/verdict.ts'
import type { Explanation } from './explanation.ts'
import { printable } from '../text/printable.ts'
import { spanText } from '../text/time-text.ts'

export type Paint = (colour: 'red' | 'green' | 'yellow' | 'dim' | 'bold', text: string) => string

const labelWidth = 10

export function explanationText(of: Explanation, paint: Paint): string {
  const place = `${of.topic}/${of.partition}${of.offset === null ? '' : `@${of.offset}`}`
  const age = of.isCommitted || of.ageMs === null ? '' : ` for ${spanText(of.ageMs)}`
  const state = of.cause === 'dead-lettered' ? 'dead-lettered' : of.isCommitted ? 'committed' : `not committed${age}`
  const colour = of.cause === 'dead-lettered' ? 'yellow' : of.isCommitted ? 'green' : 'red'
  const lines = [
    `${paint('bold', place)}  ${paint(colour, state)}  ${paint('dim', of.cause)}`,
    ...row('why', of.sentence),
    ...becauseRows(of),
    ...row('job', jobText(of)),
    ...row('queue', queueText(of)),
    ...row('floor', floorText(of)),
    ...row('attempts', of.attempts === null || of.attempts === 0 ? undefined : `${of.attempts}; last error: ${of.lastError ?? '-'}`),
    ...row('next', of.next),
    ...row('mend', of.mend ?? undefined),
    ...of.notes.flatMap((note) => row('note', note)),
    ...of.unseen.flatMap((what) => row('unseen', what)),
  ]
  return `${lines.join('\n')}\n`
}

function becauseRows({ because }: Verdict): string[] {
  if (because === undefined) return []
  return [
    ...row('because', `${because.cause}: ${because.sentence}`),
    ...row('next', because.next),
    ...row('mend', because.mend ?? undefined),
    ...becauseRows(because),
  ]
}

function jobText({ task, job, key }: Explanation): string | undefined {
  if (job === null || task === null) return undefined
  return `task ${task}, offset ${job.offset}, ordinal ${job.ordinal}${key === null ? '' : `, key ${key}`}`
}

function queueText({ topic, queue, segment, owner, reader }: Explanation): string | undefined {
  if (queue === null && owner === null) return undefined
  const parts = [
    queue === null ? undefined : `${topic}/${queue}`,
    segment === null ? undefined : `segment (${segment.lo}, ${segment.hi}] at sequence ${segment.sequence}`,
    owner === null ? 'no owner' : `written by ${owner}`,
    queue === null ? undefined : reader === null ? 'no reader' : `read by ${reader}`,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}

function floorText({ floor, log, lagEvents }: Explanation): string | undefined {
  if (floor === null && log === null) return undefined
  const range = log === null ? '' : `; the log holds ${log.startOffset} to ${log.endOffset}`
  return `${floor ?? 'unknown'}${range}${lagEvents === null ? '' : `; ${lagEvents} offsets behind`}`
}

function row(label: string, text: string | undefined): string[] {
  return text === undefined ? [] : [`  ${label.padEnd(labelWidth)}${printable(text)}`]
}
