import type { WebSocketDefinition } from '../sinks/web-socket-definition.ts'
import type { Sink } from './typed-sink.ts'

export interface WebSocketOptions<Value> {
  /** What a value is the latest of. Pure. */
  readonly latestBy: (value: Value) => string
  /**
   * Where values come from after a full stop: a query of the columns `key` (text) and `value` (json). They count as older
   * than any live value. Default: the channel starts empty.
   */
  readonly seed?: { readonly sql: string }
}

/**
 * A channel that every node serves at `/ws/<channel>`: a snapshot of the latest value of each `latestBy` on connect, then
 * what changes. Values are JSON; an older one never replaces a newer one.
 */
export function webSocket<Value>(channel: string, options: WebSocketOptions<Value>): Sink<Value> {
  const latestBy = options.latestBy as WebSocketDefinition['latestBy']
  return { definition: { kind: 'web-socket', channel, latestBy, ...(options.seed === undefined ? {} : { seed: options.seed }) } }
}
