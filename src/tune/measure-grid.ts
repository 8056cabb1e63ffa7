/**
 * Measures the grid by segments of several sizes: appends, and the way to a reader on another connection, encoding and signature
 * included. Uses scratch rings only, and takes each out of the grid once its size is done.
 */
import { ringName } from '../grid/queue-name.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { decodeSegment, encodeSegment } from '../grid/segment.ts'
import type { SectionDraft } from '../grid/segment.ts'
import type { Clock } from '../schedule/clock.ts'
import type { GridMeasurement, Sized } from './measurements.ts'
import { processorMs } from './processor.ts'
import { Quantiles } from './quantiles.ts'
import { goOn } from './tune-step.ts'
import type { StepOptions } from './tune-step.ts'

const kibibyte = 1024
const sizes = [1, 4, 16, 64, 128, 256, 512, 1024].map((size) => size * kibibyte)
const roundsMax = 80
const roundsLeast = 4
/** Of one size: rings keep what they are given until they are destroyed. */
const bytesMaxOfSize = 16 * 1024 * kibibyte
const readWaitMs = 2000
const secret = 'tune'

export interface GridProbe {
  readonly writer: JobGrid
  /** Another connection: what a client appends itself it need not read over the network. */
  readonly reader: JobGrid
  readonly scope: string
}

/** `line`: a job as it is, for contents that are as large and as various as the real ones. Throws FB_GRID_UNREACHABLE. */
export async function measureGrid(
  probe: GridProbe,
  lines: readonly string[],
  clock: Clock,
  options: StepOptions,
): Promise<GridMeasurement & { readonly msPerSegment: number }> {
  const append: Sized[] = []
  const delivery: Sized[] = []
  let msPerSegment = 0
  for (const [queue, size] of sizes.entries()) {
    const usedMs = processorMs()
    const took = await measureSize(probe, { queue, draft: draftOf(lines, size) }, clock, options, size)
    append.push({ size, ms: new Quantiles(took.appends) })
    delivery.push({ size, ms: new Quantiles(took.deliveries) })
    // Of the smallest: a busy queue has many small ones.
    if (queue === 0) msPerSegment = (processorMs() - usedMs) / took.appends.length
    options.onStep('grid', (queue + 1) / sizes.length)
  }
  return { append, delivery, msPerSegment }
}

async function measureSize(
  { writer, reader, scope }: GridProbe,
  { queue, draft }: { queue: number; draft: SectionDraft },
  clock: Clock,
  { budgetMs, signal }: StepOptions,
  size: number,
): Promise<{ appends: number[]; deliveries: number[] }> {
  const ring = ringName(scope, { partition: 0, queue })
  const [appends, deliveries]: [number[], number[]] = [[], []]
  const rounds = Math.max(roundsLeast, Math.min(roundsMax, Math.floor(bytesMaxOfSize / size)))
  const untilMs = clock.now() + budgetMs / sizes.length
  const hi = draft.offsets.at(-1)!
  try {
    let from = 0n
    // The first round opens connections and makes the ring.
    for (let round = 0; round <= rounds && (round <= roundsLeast || clock.now() < untilMs); round++) {
      goOn(signal)
      const reading = reader.read(ring, from, { countMax: 16, waitMs: readWaitMs })
      // Awaited below; it must not be nobody's when the append fails.
      reading.catch(() => undefined)
      const startedMs = clock.now()
      const entry = encodeSegment({ scope, partition: 0, queue, owner: 'tune', repair: 0, lo: -1n, hi }, [draft], secret)
      await writer.append(ring, entry)
      const appendMs = clock.now() - startedMs
      let read = await reading
      while (read.entries.length === 0) {
        goOn(signal)
        read = await reader.read(ring, from, { countMax: 16, waitMs: readWaitMs })
      }
      for (const one of read.entries) decodeSegment(one, secret)
      from = read.nextSequence
      if (round === 0) continue
      appends.push(appendMs)
      deliveries.push(clock.now() - startedMs)
    }
  } finally {
    await writer.destroy({ rings: [ring], maps: [] })
  }
  return { appends, deliveries }
}

function draftOf(lines: readonly string[], size: number): SectionDraft {
  const draft: SectionDraft = { task: 'tune', kind: 'job', offsets: [], timesMs: [], text: '' }
  for (let i = 0, bytes = 0; bytes < size; i++) {
    const line = `${lines[i % lines.length]!}\n`
    draft.offsets.push(BigInt(i))
    draft.timesMs.push(0)
    draft.text += line
    bytes += Buffer.byteLength(line) + 8
  }
  return draft
}
