import { latestLine } from './latest-line.ts'
import { openWebSocket } from './open-web-socket.ts'
import { channelBytesMax } from './latest-values.ts'
import type { Sink, SinkContext } from '../sink.ts'
import type { ChannelRequest, ChannelVerdict, WebSocketDefinition } from './web-socket-definition.ts'
import { webSocketProblems } from './web-socket-problems.ts'

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
export function webSocket<Value>(channel: string, { latestBy, seed, authorize }: WebSocketOptions<Value>): Sink<Value> {
  const definition: WebSocketDefinition = {
    channel,
    latestBy: latestBy as WebSocketDefinition['latestBy'],
    ...(seed === undefined ? {} : { seed }),
    ...(authorize === undefined ? {} : { authorize }),
  }
  return Object.freeze({
    kind: 'web-socket',
    label: `channel ${channel}`,
    delivery: 'ephemeral',
    traits: { latestBy, isExclusive: true, memoryBytesMax: channelBytesMax, isWithinNodes: true },
    problems: () => webSocketProblems(definition),
    encode: (value: Value) => latestLine(definition, value),
    open: (context: SinkContext) => openWebSocket(definition, context),
  })
}
