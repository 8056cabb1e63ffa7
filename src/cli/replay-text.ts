/** What `forebay replay` prints, for people and as JSON. Pure. */
import { changedColumns, kindOf } from '../replay/findings.ts'
import type { Difference, Findings, RowText } from '../replay/findings.ts'
import type { DryRun } from '../replay/dry-run.ts'
import { offsetCount } from '../replay/replay-range.ts'
import type { ReplayRange } from '../replay/replay-range.ts'
import type { ReplayRecord } from '../replay/replay-store.ts'
import { sizeText } from '../text/units.ts'

/** A time span as people say it: `3 min 20 s`. */
export function durationWords(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  if (seconds < 60) return `${seconds} s`
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)]
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min ${seconds % 60} s`
}

export function rangeText(range: ReplayRange): string {
  const { partition, firstOffset, lastOffset, floor, isCut } = range
  const count = offsetCount(range)
  const why = isCut ? `; it ends at the floor (${floor}): later events may still be on their way` : ''
  if (count === 0) return `partition ${partition}: nothing${why}\n`
  return `partition ${partition}: offsets ${firstOffset} to ${lastOffset} (${count})${why}\n`
}

export function rangeJson({ partition, firstOffset, lastOffset, floor, isCut }: ReplayRange) {
  return { partition, firstOffset: String(firstOffset), lastOffset: String(lastOffset), floor: String(floor), isCut }
}

export function dryRunText({ events, bytes, deadLetters, jobs, estimatedMs, eventsPerSecond }: DryRun): string {
  const tasks = Object.entries(jobs).map(([task, count]) => `  ${task}: ${count} jobs\n`)
  const dead = deadLetters === 0 ? '' : `  ${deadLetters} events or jobs that cannot be converted (dead letters)\n`
  return `${events} events, ${sizeText(bytes)}\n${tasks.join('')}${dead}it would take ${durationWords(estimatedMs)} at ${eventsPerSecond} events/s; nothing was written\n`
}

export function findingsText(findings: Findings): string {
  const { task, table, events, compared, missing, extra, different, mended, differences, notes } = findings
  const rest = missing + extra + different - differences.reduce((sum, one) => sum + Math.max(one.missing, one.extra), 0)
  const lines = differences.map((difference) => `  ${differenceText(difference)}\n`)
  const more = rest > 0 ? `  and ${rest} more (--show lists more)\n` : ''
  const counts = [`${missing} missing`, `${extra} extra`, `${different} different`]
  if (mended > 0) counts.push(`${mended} of the missing written`)
  const result = missing + extra + different === 0 ? 'all as they should be' : counts.join(', ')
  const notesText = notes.map((note) => `  note: ${note}\n`).join('')
  return `table ${table} (task ${task}), ${events} events, ${compared} rows compared: ${result}\n${lines.join('')}${more}${notesText}`
}

function differenceText(difference: Difference): string {
  const { partition, offset, identity, missing, extra, expected, found, error } = difference
  const kind = kindOf(difference)
  const where = partition === null || offset === null ? rowText(identity) : `partition ${partition}, offset ${offset}`
  const count = Math.max(missing, extra)
  const times = count > 1 ? ` (${count} rows)` : ''
  if (error !== null) return `${kind}  ${where}${times}: ${error}`
  if (kind !== 'different') return `${kind}  ${where}${times}: ${rowText((kind === 'missing' ? expected : found) ?? identity)}`
  const changes = changedColumns(difference).map((name) => `${name} is ${shown(found![name])}, should be ${shown(expected![name])}`)
  return `different  ${where}${times}: ${changes.join('; ')}`
}

function rowText(row: RowText): string {
  return Object.entries(row)
    .map(([name, value]) => `${name}=${shown(value)}`)
    .join(' ')
}

function shown(value: string | null | undefined): string {
  return value === null || value === undefined ? 'null' : /^[\w.:+-]+$/.test(value) ? value : JSON.stringify(value)
}

export function findingsJson(findings: Findings) {
  const { task, table, events, compared, missing, extra, different, mended, incomparable, differences, notes, isRight } = findings
  return {
    task,
    table,
    events,
    compared,
    missing,
    extra,
    different,
    mended,
    incomparable,
    isRight,
    differences: differences.map((difference) => ({
      ...difference,
      kind: kindOf(difference),
      offset: difference.offset === null ? null : String(difference.offset),
    })),
    notes,
  }
}

export function recordText(record: ReplayRecord): string {
  const { id, task, target, state, spec, createdAt, partitions } = record
  const total = partitions.reduce((sum, one) => sum + offsetCount(one), 0)
  const done = partitions.reduce((sum, { passed, firstOffset }) => sum + Number(passed - firstOffset + 1n), 0)
  const sums = (of: 'events' | 'rows' | 'refused') => partitions.reduce((sum, one) => sum + one[of], 0)
  const percent = total === 0 ? 100 : Math.floor((done * 100) / total)
  const range = `from ${spec.from}${spec.to === null ? '' : ` to ${spec.to}`}${spec.partition === null ? '' : ` of partition ${spec.partition}`}${spec.key === null ? '' : ` key ${spec.key}`}`
  const refused = sums('refused') === 0 ? '' : `, ${sums('refused')} refused`
  return `${id}  ${state.padEnd(7)}  ${String(percent).padStart(3)}%  task ${task} into ${target}, ${range}; ${sums('events')} events, ${sums('rows')} rows${refused}; begun ${createdAt.toISOString()}\n`
}

export function recordJson(record: ReplayRecord) {
  return {
    ...record,
    partitions: record.partitions.map((one) => ({
      ...one,
      firstOffset: String(one.firstOffset),
      lastOffset: String(one.lastOffset),
      passed: String(one.passed),
    })),
  }
}
