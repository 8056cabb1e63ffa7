import type { PostgresTableDefinition } from './postgres-table/postgres-table-definition.ts'
import type { Sink } from './sink.ts'

interface WithSink {
  readonly sink: Sink<unknown>
}

/** Whether the jobs of a task must not be lost: it has watermarks, and holds the floor. */
export function isDurable({ sink }: WithSink): boolean {
  return sink.delivery !== 'ephemeral'
}

/** The table whose rows are the jobs of a task, where there is one that can be compared, repaired and reset. */
export function tableOf({ sink }: WithSink): PostgresTableDefinition | undefined {
  return sink.traits?.table
}
