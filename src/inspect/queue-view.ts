/** A copy of a queue as people and JSON see it. Pure. Offsets and sequences are decimal strings. */
import type { Segment } from '../grid/segment.ts'
import { sizeText } from '../pipeline/units.ts'
import type { QueueSnapshot } from './queue-snapshot.ts'
import { tableText } from './table-text.ts'
import { spanText } from './time-text.ts'

export interface SegmentView {
  readonly sequence: string
  /** False: damaged, or signed with another secret; the rest is then empty. */
  readonly isReadable: boolean
  readonly lo: string
  readonly hi: string
  readonly owner: string
  readonly repair: number
  readonly bytes: number
  /** Jobs by task; dead letters on their way count apart. */
  readonly jobs: Readonly<Record<string, { readonly jobs: number; readonly deadLetters: number }>>
  /** Record time of its oldest event; null for a heartbeat. */
  readonly oldestMs: number | null
  /** `offset task line`, at most as many as were asked for. */
  readonly lines: readonly string[]
}

export interface QueueCopy {
  readonly queue: string
  /** When the copy was made (wall clock). */
  readonly takenMs: number
  readonly tailSequence: string
  /** Slots that the owner overwrote while the copy was made. */
  readonly overwritten: number
  readonly bytes: number
  readonly segments: readonly SegmentView[]
}

const lineCharsMax = 200

export function queueCopy(
  queue: string,
  { tailSequence, slots, overwritten }: QueueSnapshot,
  takenMs: number,
  linesMax: number,
): QueueCopy {
  let left = linesMax
  const segments = slots.map(({ sequence, segment, bytes }): SegmentView => {
    if (segment === undefined) return { ...unreadable, sequence: String(sequence), bytes }
    const lines = linesOf(segment, left)
    left -= lines.length
    return { ...segmentView(sequence, segment), lines }
  })
  const bytes = slots.reduce((sum, slot) => sum + slot.bytes, 0)
  return { queue, takenMs, tailSequence: String(tailSequence), overwritten, bytes, segments }
}

const unreadable = { isReadable: false, lo: '', hi: '', owner: '', repair: 0, jobs: {}, oldestMs: null, lines: [] }

function segmentView(sequence: bigint, { lo, hi, owner, repair, bytes, sections }: Segment): Omit<SegmentView, 'lines'> {
  const jobs: Record<string, { jobs: number; deadLetters: number }> = {}
  const times: number[] = []
  for (const section of sections) {
    const counts = (jobs[section.task] ??= { jobs: 0, deadLetters: 0 })
    counts[section.kind === 'job' ? 'jobs' : 'deadLetters'] += section.count
    if (section.count > 0) times.push(section.timeMs(0))
  }
  const oldestMs = times.length === 0 ? null : Math.min(...times)
  return { sequence: String(sequence), isReadable: true, lo: String(lo), hi: String(hi), owner, repair, bytes, jobs, oldestMs }
}

function linesOf({ sections }: Segment, linesMax: number): string[] {
  const lines: string[] = []
  for (const section of sections) {
    if (lines.length >= linesMax) break
    const wanted = section.slice(0, Math.min(section.count, linesMax - lines.length))
    wanted.lines().forEach((line, index) => lines.push(`${wanted.offset(index)} ${section.task} ${line.slice(0, lineCharsMax)}`))
  }
  return lines
}

/** The copy for a terminal. */
export function queueText({ queue, takenMs, tailSequence, overwritten, bytes, segments }: QueueCopy): string {
  const rows = segments.map((segment) => {
    const jobs = Object.entries(segment.jobs).map(
      ([task, of]) => `${task} ${of.jobs}${of.deadLetters === 0 ? '' : ` + ${of.deadLetters} dead`}`,
    )
    const place = segment.isReadable ? `(${segment.lo}, ${segment.hi}]` : 'damaged or foreign'
    const age = segment.oldestMs === null ? 'heartbeat' : spanText(takenMs - segment.oldestMs)
    return [segment.sequence, place, segment.owner, `${segment.repair}`, sizeText(segment.bytes), age, jobs.join(', ')]
  })
  const lost = overwritten === 0 ? '' : `; ${overwritten} were overwritten while it was copied`
  const lines = segments.flatMap(({ lines: own }) => own)
  return `${[
    `queue ${queue}: ${segments.length} segments up to sequence ${tailSequence}, ${sizeText(bytes)}${lost}`,
    'A ring keeps segments until they are overwritten: those at or below the watermarks are applied (forebay status).',
    ...tableText(['sequence', 'offsets', 'owner', 'repair', 'size', 'age', 'jobs'], rows),
    ...(lines.length === 0 ? [] : ['', ...lines]),
  ].join('\n')}\n`
}
