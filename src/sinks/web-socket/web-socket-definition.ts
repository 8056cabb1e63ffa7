/** A client that asks for a channel. */
export interface ChannelRequest {
  readonly channel: string
  /** Address of its connection; behind a proxy that of the proxy. */
  readonly address: string
  /** Headers of its request, named in lower case, cookies among them; the node's token is taken out of the subprotocols. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Parameters of its URL, `key` and `ticket` left out. */
  readonly query: URLSearchParams
  /** Keys it asks for (`?key=a&key=b`); undefined: all. */
  readonly keys: readonly string[] | undefined
}

/** What a client may see: the keys of which `keys` says true (left out: all), or nothing at all. */
export type ChannelVerdict = { readonly keys?: (key: string) => boolean } | false

/** A WebSocket channel as a pipeline declares it: the latest value of every `latestBy`, pushed to whoever listens. */
export interface WebSocketDefinition {
  /** Served at `/ws/<channel>` by every node. */
  readonly channel: string
  /** What a value is the latest of. Pure. */
  readonly latestBy: (value: unknown) => string
  /**
   * Where values come from after a full stop: a query of columns `key` (text) and `value` (json). They count as older than
   * any live value.
   */
  readonly seed?: { readonly sql: string }
  /** Decides on each client as it connects; left out: everybody sees everything. */
  readonly authorize?: (request: ChannelRequest) => ChannelVerdict | Promise<ChannelVerdict>
}
