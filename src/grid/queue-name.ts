import type { QueueId } from '../ledger/ledger.ts'
import type { Stamp } from './segment.ts'

/** What names and segments of one epoch of one pipeline carry, so that nothing foreign is ever taken (rule 2). */
export interface Scope {
  readonly deployment: string
  readonly pipeline: string
  readonly topic: string
  readonly epoch: number
  /** Tells the epoch from another one of its number, as the ledger keeps it. */
  readonly mark: string
}

/** The scope in one string: part of ring and map names, and the first field of every segment. */
export function scopeName(scope: Scope): string {
  return `${scope.deployment}.${scope.pipeline}.${scope.topic}.e${scope.epoch}-${scope.mark}`
}

export function ringName(scope: string, { partition, queue }: QueueId): string {
  return `forebay.${scope}.p${partition}.q${queue}`
}

/** The map of level-triggered flags: queue to the stamp of the segment that showed the gap. */
export function flagMapName(scope: string): string {
  return `forebay.${scope}.flags`
}

export function flagKey({ partition, queue }: QueueId): string {
  return `p${partition}.q${queue}`
}

/** The ring by which all nodes learn a channel's changes. */
export function fanoutRingName(scope: string, channel: string): string {
  return `forebay-fanout.${scope}.${channel}`
}

/** The map that keeps a channel's latest values for nodes that come later. */
export function latestMapName(scope: string, channel: string): string {
  return `forebay-latest.${scope}.${channel}`
}

/** How a flag names the segment that showed a gap (rule 8). */
export function stampText({ owner, repair }: Stamp): string {
  return `${owner}/${repair}`
}
