/**
 * L2 and the bound of a queue: watches what owners append and what rings lose.
 *
 * A *run* is what one life of an owner appends to one queue between two repairs of it. A segment is live while it holds
 * jobs above the queue's lowest watermark; a *loss* is a live segment that went from its ring,
 * or stands in a ring that lost entries where readers have passed. The strongest statement that
 * holds: an owner makes a queue again only when, since the run began, it lost a segment of its own or the database forgot a
 * commit, or when another owner's loss is still open, its jobs being unapplied, and was not answered by this owner before.
 * And within a run no more live segments stand in the queue than its window has, and none is pushed out by the run itself.
 */
import type { Segment, SegmentHead } from '../../src/grid/segment.ts'
import { demand } from '../guarantees/violation.ts'

export interface RepairWatchOptions {
  /** The lowest watermark of a queue as committed now. */
  readonly watermarkOf: (partition: number, queue: number) => bigint
  readonly windowSegmentsMax: number
}

interface Run {
  repair: number
  /** Of its segments, in the order of their first appends. */
  his: bigint[]
  /** How many losses the ring had when the run began. */
  losses: number
  failovers: number
  /** Nothing of this owner's life was made again before. */
  readonly isFirst: boolean
  /** The queue was repaired; the next append begins another run. */
  isOver: boolean
}

type QueueOfOwner = Pick<SegmentHead, 'scope' | 'partition' | 'queue' | 'owner'>

interface Loss {
  readonly owner: string
  readonly hi: bigint
}

/** Heartbeats whose sender was told of a failure may arrive behind the ones that followed them. */
const lateHeartbeatsMax = 4

export class RepairWatch {
  readonly #options: RepairWatchOptions
  readonly #heads = new WeakMap<Buffer, SegmentHead>()
  readonly #runs = new Map<string, Run>()
  /** The present life of an owner, by ring and node. */
  readonly #owners = new Map<string, string>()
  /** By ring. */
  readonly #losses = new Map<string, Loss[]>()
  #failovers = 0
  /** Queues made again, each with its cause. */
  repairs = 0

  constructor(options: RepairWatchOptions) {
    this.#options = options
  }

  /** `standing` is what the ring holds before. */
  appended(entry: Buffer, segment: Segment, standing: readonly Buffer[]): void {
    const { scope, partition, queue, owner, repair, lo, hi } = segment
    this.#heads.set(entry, { scope, partition, queue, owner, repair, lo, hi })
    if (lo === hi) this.#checkHeartbeat(segment, standing)
    const run = this.#runs.get(nameOf(segment))
    if (run === undefined) return this.#begin(segment, true)
    // Of an older run: a request that was given up and arrives late.
    if (repair < run.repair) return
    if (run.isOver && repair > run.repair) return this.#begin(segment, false)
    // After a repair of another queue, what was not acknowledged is made again, with more behind it.
    if (repair > run.repair) run.his = run.his.filter((of) => of <= lo)
    run.repair = repair
    if (hi <= (run.his.at(-1) ?? -2n)) return
    run.his.push(hi)
    this.#checkWindow(segment, run)
  }

  /** Rule 4: heartbeats behind the own latest entry would push live segments out of a stalled ring. */
  #checkHeartbeat({ owner, repair, partition, queue, hi }: SegmentHead, standing: readonly Buffer[]): void {
    const behind = new Set<Buffer>()
    for (let i = standing.length - 1; i >= 0; i--) {
      const head = this.#heads.get(standing[i]!)
      if (head === undefined || head.lo !== head.hi || head.hi !== hi || head.owner !== owner || head.repair !== repair) break
      behind.add(standing[i]!)
    }
    demand(behind.size <= lateHeartbeatsMax, 'I10', () => `${owner} piles heartbeats behind its own in queue ${partition}/${queue}`)
  }

  /** The owner that `node` runs for the partition made these queues again. */
  repaired(node: string, scope: string, partition: number, queues: readonly number[]): void {
    this.repairs += queues.length
    for (const queue of queues) {
      const owner = this.#owners.get(`${scope}/${partition}/${queue}/${node}`)
      const run = owner === undefined ? undefined : this.#runs.get(`${scope}/${partition}/${queue}/${owner}`)
      demand(
        owner !== undefined &&
          run !== undefined &&
          (this.#failovers > run.failovers || this.#hasCause({ scope, partition, queue, owner }, run)),
        'L2',
        () => `${owner ?? node} makes queue ${partition}/${queue} again, but nothing above its watermark was lost`,
      )
      run.isOver = true
    }
  }

  #hasCause(segment: QueueOfOwner, { losses, isFirst }: Run): boolean {
    const watermark = this.#options.watermarkOf(segment.partition, segment.queue)
    return this.#lossesOf(segment).some(({ owner, hi }, index) =>
      owner === segment.owner ? index >= losses : hi > watermark && (isFirst || index >= losses),
    )
  }

  #lossesOf({ scope, partition, queue }: Omit<QueueOfOwner, 'owner'>): Loss[] {
    const name = `${scope}/${partition}/${queue}`
    let losses = this.#losses.get(name)
    if (losses === undefined) this.#losses.set(name, (losses = []))
    return losses
  }

  #begin(segment: SegmentHead, isFirst: boolean): void {
    const { scope, partition, queue, owner, repair, lo, hi } = segment
    // What the owner had read before it appended this may be forgotten by now.
    const isForgotten = lo > this.#options.watermarkOf(partition, queue)
    const failovers = isForgotten ? this.#failovers - 1 : this.#failovers
    this.#owners.set(`${scope}/${partition}/${queue}/${owner.slice(0, owner.lastIndexOf('.'))}`, owner)
    this.#runs.set(nameOf(segment), { repair, his: [hi], losses: this.#lossesOf(segment).length, failovers, isFirst, isOver: false })
  }

  #checkWindow({ partition, queue, owner }: SegmentHead, run: Run): void {
    if (this.#failovers > run.failovers) return
    const watermark = this.#options.watermarkOf(partition, queue)
    let live = 0
    for (let i = run.his.length - 1; i >= 0 && run.his[i]! > watermark; i--) live++
    const { windowSegmentsMax } = this.#options
    demand(
      live <= windowSegmentsMax,
      'I10',
      () => `${owner} has ${live} segments of queue ${partition}/${queue} above the watermark, ${windowSegmentsMax} are allowed`,
    )
  }

  /** `entry` stands where readers may have passed already. */
  hidden(entry: Buffer): void {
    const head = this.#heads.get(entry)
    if (head !== undefined) this.#lossesOf(head).push({ owner: head.owner, hi: head.hi })
  }

  /** `entry` is no longer in its ring. `pushers` are the entries that stand behind it when it was overwritten. */
  removed(entry: Buffer, pushers: readonly Buffer[] = []): void {
    const head = this.#heads.get(entry)
    if (head === undefined) return
    const { partition, queue, lo, hi } = head
    if (lo === hi || hi <= this.#options.watermarkOf(partition, queue)) return
    this.hidden(entry)
    if (pushers.length === 0 || this.#failovers > (this.#runs.get(nameOf(head))?.failovers ?? 0)) return
    const isOwn = new Set(pushers).size === pushers.length && pushers.every((pusher) => this.#isOfRun(pusher, head))
    demand(!isOwn, 'I10', () => `${head.owner} pushed its own live segment (${lo}, ${hi}] out of queue ${partition}/${queue}`)
  }

  #isOfRun(entry: Buffer, { owner, repair }: SegmentHead): boolean {
    const head = this.#heads.get(entry)
    return head !== undefined && head.owner === owner && head.repair === repair
  }

  /** The database forgot commits: what was below a watermark may be above it again. */
  forgotten(): void {
    this.#failovers++
  }
}

function nameOf({ scope, partition, queue, owner }: QueueOfOwner): string {
  return `${scope}/${partition}/${queue}/${owner}`
}
