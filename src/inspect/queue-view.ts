/** A copy of a queue as people and JSON see it. Offsets and sequences are decimal strings. */
import type { JobGrid } from '../grid/job-grid.ts'
import { ringName } from '../grid/queue-name.ts'
import { decodeSegment, readSegmentHead } from '../grid/segment.ts'
import type { SectionHead, Segment, SegmentHead } from '../grid/segment.ts'
import type { QueueId } from '../ledger/ledger.ts'
import { sizeText } from '../text/units.ts'
import { snapshotQueue } from './queue-snapshot.ts'
import { printable } from '../text/printable.ts'
import { tableText } from '../text/table-text.ts'
import { spanText } from '../text/time-text.ts'

export interface SegmentView {
  readonly sequence: string
  /** False: damaged, of another epoch, or signed with another secret; the rest is then empty. */
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

interface CopyOptions {
  /** Of the epoch the queue belongs to. */
  readonly scope: string
  /** Key of the segments' HMAC. */
  readonly secret: string
  /** Jobs shown at most; with 0 only the headers are read, and nothing is proven. */
  readonly jobsMax: number
  /** Now, on the wall clock. */
  readonly nowMs: number
}

/** Copies a queue. Throws FB_GRID_UNREACHABLE. */
export async function copyQueue(grid: JobGrid, at: QueueId, { scope, secret, jobsMax, nowMs }: CopyOptions): Promise<QueueCopy> {
  let left = jobsMax
  let bytes = 0
  const take = (sequence: bigint, entry: Buffer): SegmentView => {
    bytes += entry.length
    const place = { sequence: String(sequence), bytes: entry.length }
    if (jobsMax === 0) {
      const head = readSegmentHead(entry)
      return head?.scope === scope ? { ...place, ...viewOf(head), lines: [] } : { ...unreadable, ...place }
    }
    const segment = decodeSegment(entry, secret)
    if (segment === undefined) return { ...unreadable, ...place }
    const lines = linesOf(segment, left)
    left -= lines.length
    const sections = segment.sections.map((section) => {
      const { task, kind, count } = section
      return { task, kind, count, firstMs: section.timeMs(0) }
    })
    return { ...place, ...viewOf({ ...segment, sections }), lines }
  }
  const { tailSequence, slots, overwritten } = await snapshotQueue(grid, ringName(scope, at), take)
  const queue = `${at.partition}/${at.queue}`
  return { queue, takenMs: nowMs, tailSequence: String(tailSequence), overwritten, bytes, segments: slots }
}

const unreadable = { isReadable: false, lo: '', hi: '', owner: '', repair: 0, jobs: {}, oldestMs: null, lines: [] }

function viewOf({ lo, hi, owner, repair, sections }: SegmentHead & { readonly sections: readonly SectionHead[] }) {
  const jobs = new Map<string, { jobs: number; deadLetters: number }>()
  const times: number[] = []
  for (const { task, kind, count, firstMs } of sections) {
    const counts = jobs.get(task) ?? { jobs: 0, deadLetters: 0 }
    counts[kind === 'job' ? 'jobs' : 'deadLetters'] += count
    jobs.set(task, counts)
    if (count > 0) times.push(firstMs)
  }
  const oldestMs = times.length === 0 ? null : Math.min(...times)
  return { isReadable: true, lo: String(lo), hi: String(hi), owner, repair, jobs: Object.fromEntries(jobs), oldestMs }
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
    ...(lines.length === 0 ? [] : ['', ...lines.map(printable)]),
  ].join('\n')}\n`
}
