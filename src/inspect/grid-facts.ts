import type { JobGrid } from '../grid/job-grid.ts'
import { flagMapName, ringName } from '../grid/queue-name.ts'
import { decodeSegment } from '../grid/segment.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { EventFacts, GridFacts, RingFacts, SegmentFacts } from './facts.ts'
import { snapshotQueue } from './queue-snapshot.ts'

export interface GridQuestion {
  /** Undefined while neither the database nor a node tells it. */
  readonly scope: string | undefined
  readonly settings: Pick<NodeSettings, 'grid'>
  readonly partition: number
  readonly queues: number
  /** The event whose segment is looked for. */
  readonly at: EventFacts | null
}

/** The key of the segments' HMAC: without a secret it is the deployment's id, the first field of the scope. */
export function segmentSecret({ grid }: Pick<NodeSettings, 'grid'>, scope: string): string {
  return grid.secret ?? scope.slice(0, scope.indexOf('.'))
}

/** The tails of a partition's rings, the segment that holds an event, and the flags. Throws FB_GRID_UNREACHABLE. */
export async function readGridFacts(grid: JobGrid, { scope, settings, partition, queues, at }: GridQuestion): Promise<GridFacts> {
  if (scope === undefined) throw new Error('neither the database nor a node tells the names of the rings')
  const secret = segmentSecret(settings, scope)
  const flags = await grid.entries(flagMapName(scope))
  const rings: RingFacts[] = []
  for (let queue = 0; queue < queues; queue++) {
    const ring = ringName(scope, { partition, queue })
    if (at?.queue === queue) {
      const { slots } = await snapshotQueue(grid, ring, (sequence, entry) => {
        const segment = decodeSegment(entry, secret)
        return segment === undefined ? undefined : segmentFacts(sequence, segment)
      })
      const segments = slots.filter((segment) => segment !== undefined)
      const holding = segments.findLast(({ lo, hi }) => lo < at.offset && at.offset <= hi) ?? null
      rings.push({ queue, tail: segments.at(-1) ?? null, holding })
    } else {
      const { sequence, entry } = await grid.tail(ring)
      const tail = entry === undefined ? undefined : decodeSegment(entry, secret)
      rings.push({ queue, tail: tail === undefined ? null : segmentFacts(sequence, tail), holding: null })
    }
  }
  return { rings, flags }
}

function segmentFacts(sequence: bigint, { lo, hi, owner, repair }: Omit<SegmentFacts, 'sequence'>): SegmentFacts {
  return { sequence, lo, hi, owner, repair }
}
