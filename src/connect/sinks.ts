/** The sinks of a node's tasks, and the tasks as a node takes them. */
import type { JobGrid } from '../grid/job-grid.ts'
import type { NodeTask } from '../node/node.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { Observer } from '../observer.ts'
import type { PostgresPool } from '../database/postgres-pool.ts'
import { own } from '../own.ts'
import type { TaskDefinition } from '../pipeline/pipeline.ts'
import type { Clock } from '../schedule/clock.ts'
import { createPostgresTable } from '../sinks/postgres-table/postgres-table.ts'
import type { RunningSink } from '../sinks/sink.ts'
import { createWebSocket } from '../sinks/web-socket/web-socket.ts'

const rowsMaxDefault = 50_000
const bytesMaxDefault = 8 * 1024 * 1024

interface SinkPorts {
  readonly clock: Clock
  readonly observer: Observer
  readonly pool: PostgresPool
  readonly grid: JobGrid
  readonly scope: string
  /** Key of the HMAC on what goes through the grid. */
  readonly secret: string
  readonly nodeId: string
}

/** The sink of a task. Throws what its table or the database says against it. */
export async function createSink({ sink }: TaskDefinition, { pool, ...ports }: SinkPorts): Promise<RunningSink> {
  if (sink.kind === 'postgres-table') return pool.use(`checking table ${sink.table}`, (client) => createPostgresTable(sink, client))
  const { seed } = sink
  if (seed === undefined) return createWebSocket({ definition: sink, ...ports })
  const rowsOf = async () => {
    const { rows } = await pool.use(`seeding channel ${sink.channel}`, (client) => client.query<{ key: string; value: unknown }>(seed.sql))
    return rows.map(({ key, value }) => ({ key, json: JSON.stringify(value) }))
  }
  return createWebSocket({ definition: sink, ...ports, seed: rowsOf })
}

/** A task with the overrides of the settings applied. */
export function nodeTask(task: TaskDefinition, sink: RunningSink, tracked: readonly string[], settings: NodeSettings): NodeTask {
  const { everyMs, rowsMax, bytesMax } = { ...task, ...own(settings.tasks, task.name) }
  return {
    name: task.name,
    isTracked: tracked.includes(task.name),
    convert: task.convert,
    encode: (job) => sink.encode(job),
    latestBy: task.sink.kind === 'web-socket' ? task.sink.latestBy : undefined,
    sink,
    everyMs,
    rowsMax: rowsMax ?? rowsMaxDefault,
    bytesMax: bytesMax ?? bytesMaxDefault,
  }
}
