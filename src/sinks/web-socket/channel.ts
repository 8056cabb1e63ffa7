import type { PushSocket, PushView } from './push-clients.ts'
import type { ChannelRequest } from './web-socket-definition.ts'

/** Values that clients of a node look at. */
export interface Channel {
  /** What the node's status shows; `channel` is its name, under which it is served. */
  readonly stats: { readonly channel: string; readonly keys: number; readonly clients: number; readonly dropped: number }
  /** Takes a client; left out, `view` shows everything. */
  attach(socket: PushSocket, view?: PushView): void
  /** What a client may see, or false; left out, everything. Throws what cannot be decided. */
  authorize?(request: ChannelRequest): Promise<{ readonly allows: ((key: string) => boolean) | undefined } | false>
}
