/** What a node and its sandbox say to each other. */
import type { ErrorCode } from '../errors.ts'
import type { EventHeader } from '../pipeline/event-headers.ts'
import type { ConvertedEvent } from '../ingest/converter.ts'
import type { ConvertingLimits } from '../ingest/converter-of.ts'

/** What a sandbox converts with. */
export interface SandboxSetup {
  readonly pipelineFile: string
  /** Of the file the node runs; a sandbox of another one would make other jobs. */
  readonly fileHash: string
  /** Names of the node's tasks, in its order. */
  readonly tasks: readonly string[]
  readonly limits: ConvertingLimits
  /** The sandbox ends itself when this is no longer its parent. */
  readonly parentPid: number
}

export interface WireRecord {
  readonly offset: bigint
  readonly timestampMs: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly EventHeader[] | undefined
}

export type ToSandbox = { readonly setup: SandboxSetup } | { readonly partition: number; readonly records: readonly WireRecord[] }

export type FromSandbox =
  | { readonly isReady: true }
  | { readonly refusal: string }
  | { readonly converted: readonly ConvertedEvent[] }
  | { readonly unprepared: { readonly code: ErrorCode; readonly sentence: string } }

/** The descriptor on which a sandbox says, one byte an event, which of its events it begins with. Written at once, whatever follows. */
export const progressFd = 4
