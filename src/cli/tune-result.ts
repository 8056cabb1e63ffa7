/** What `forebay tune` is asked, and what it found. */
import type { TargetOptions } from './target.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { TaskDefinition } from '../pipeline/pipeline.ts'
import type { Measurements } from '../tune/measurements.ts'
import type { GridChoice } from '../tune/predict.ts'
import type { Advice } from '../tune/recommend.ts'
import type { GridAdvice } from '../tune/recommend-grid.ts'
import type { ConfigChange } from '../tune/edit-config.ts'

export interface TuneOptions extends TargetOptions {
  readonly quick?: boolean
  readonly rate?: number
  readonly validate?: boolean
  readonly for: number
  readonly write?: boolean
  readonly routing?: boolean
  readonly svg?: string
  readonly json?: boolean
}

export interface TuneTrial {
  readonly forMs: number
  readonly isLive: boolean
  readonly capacity: number
  readonly eventsPerSecond: number
  readonly tasks: ReadonlyMap<string, { readonly p50Ms: number; readonly p99Ms: number; readonly rows: number }>
}

export interface TuneResult {
  readonly measurements: Measurements
  readonly isLive: boolean
  readonly advice: Advice
  readonly grid: GridAdvice
  /** For the queue count and segment size that are set. */
  readonly gridAsRouted: GridAdvice
  readonly gridChoice: GridChoice
  readonly trial: TuneTrial | null
}

export interface TuneReport extends TuneResult {
  readonly pipeline: string
  readonly present: { readonly settings: NodeSettings; readonly tasks: readonly TaskDefinition[] }
  readonly written: Written | null
}

/** In the largest unit that divides it, so that nothing is rounded. */
export function exactSizeText(bytes: number): string {
  const [unit, factor] = (
    [
      ['GiB', 1024 ** 3],
      ['MiB', 1024 ** 2],
      ['KiB', 1024],
    ] as const
  ).find(([, size]) => bytes >= size && bytes % size === 0) ?? ['B', 1]
  return `${bytes / factor}${unit}`
}

export interface Written {
  readonly file: string
  readonly changes: readonly ConfigChange[]
}
