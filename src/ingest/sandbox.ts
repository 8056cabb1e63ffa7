/** Converts where a death harms nobody but itself: a process of its own (rule 23). */
import type { EventRecord } from '../events/event-log.ts'
import type { ConvertedEvent } from './converter.ts'

/** All events, or the one at which the converting process died, and how: completes "the process that converted it …". */
export type SandboxOutcome =
  | { readonly converted: readonly ConvertedEvent[] }
  | { readonly died: { readonly offset: bigint; readonly how: string } }

export interface Sandbox {
  /** Converts consecutive events of a partition. Throws FB_SANDBOX when it cannot, at no event's fault, and what `Converter.prepare` throws. */
  convert(records: readonly EventRecord[], partition: number): Promise<SandboxOutcome>
}
