import type { ChannelRequest, ChannelVerdict, WebSocketDefinition } from './web-socket-definition.ts'
import type { Sink } from './typed-sink.ts'

export interface WebSocketOptions<Value> {
  /** What a value is the latest of. Pure. */
  readonly latestBy: (value: Value) => string
  /**
   * Where values come from after a full stop: a query of the columns `key` (text) and `value` (json). They count as older
   * than any live value. Default: the channel starts empty.
   */
  readonly seed?: { readonly sql: string }
  /**
   * Decides on each client as it connects, so that it sees only what is its own: the keys of which `keys` says true, everything when
   * `keys` is left out, or nothing at all (false). A throw, an answer that takes longer than 5 s, and anything but true of `keys` are a
   * no. `keys` is asked for every key of the snapshot and of each update, so it must be fast. Default: everybody sees everything.
   */
  readonly authorize?: (request: ChannelRequest) => ChannelVerdict | Promise<ChannelVerdict>
}

/**
 * A channel that every node serves at `/ws/<channel>`: a snapshot of the latest value of each `latestBy` on connect, then
 * what changes. Values are JSON; an older one never replaces a newer one.
 */
export function webSocket<Value>(channel: string, options: WebSocketOptions<Value>): Sink<Value> {
  const latestBy = options.latestBy as WebSocketDefinition['latestBy']
  const { seed, authorize } = options
  return {
    definition: {
      kind: 'web-socket',
      channel,
      latestBy,
      ...(seed === undefined ? {} : { seed }),
      ...(authorize === undefined ? {} : { authorize }),
    },
  }
}
