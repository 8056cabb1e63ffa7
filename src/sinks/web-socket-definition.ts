/** A WebSocket channel as a pipeline declares it: the latest value of every `latestBy`, pushed to whoever listens. */
export interface WebSocketDefinition {
  readonly kind: 'web-socket'
  /** Served at `/ws/<channel>` by every node. */
  readonly channel: string
  /** What a value is the latest of. Pure. */
  readonly latestBy: (value: unknown) => string
  /**
   * Where values come from after a full stop: a query of columns `key` (text) and `value` (json). They count as older than
   * any live value.
   */
  readonly seed?: { readonly sql: string }
}
