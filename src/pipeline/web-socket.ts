import type { WebSocketDefinition } from '../sinks/web-socket-definition.ts'
import type { Sink } from './typed-sink.ts'

/**
 * A channel that every node serves at `/ws/<channel>`: a snapshot of the latest value of each `latestBy` on connect, then
 * what changes. Values are JSON; an older one never replaces a newer one. `latestBy` must be pure.
 */
export function webSocket<Value>(channel: string, options: { readonly latestBy: (value: Value) => string }): Sink<Value> {
  return { definition: { kind: 'web-socket', channel, latestBy: options.latestBy as WebSocketDefinition['latestBy'] } }
}
