import type { DeliveringSink, SinkContext } from '../sink.ts'
import { WebSocketSink } from './web-socket.ts'
import type { WebSocketDefinition } from './web-socket-definition.ts'

export function openWebSocket(definition: WebSocketDefinition, context: SinkContext): DeliveringSink {
  const { clock, observer, grid, scope, secret, node: nodeId, database } = context
  const { seed, channel } = definition
  const rowsOf = async (sql: string) => {
    const { rows } = await database.use(`seeding channel ${channel}`, (client) => client.query<{ key: string; value: unknown }>(sql))
    return rows.map(({ key, value }) => ({ key, json: JSON.stringify(value) }))
  }
  const sink = new WebSocketSink({
    ...{ definition, grid, clock, observer, scope, secret, nodeId },
    ...(seed === undefined ? {} : { seed: () => rowsOf(seed.sql) }),
  })
  return { deliver: ({ sections }) => sink.deliver(sections), follow: (signal) => sink.follow(signal), channel: sink }
}
