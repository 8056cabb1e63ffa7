/** Reads a table of the pipeline's database for `forebay table`. */
import type { NodeSettings } from '../config/settings.ts'
import { describeTable } from '../sinks/postgres-table/table-description.ts'
import type { TableDescription } from '../sinks/postgres-table/table-description.ts'
import { openDatabase } from './servers.ts'

export type { TableDescription } from '../sinks/postgres-table/table-description.ts'

/** `name` is a table or `schema.table`. Throws FB_CATALOGUE when there is none, and what the database refuses. */
export async function readTable(settings: Pick<NodeSettings, 'database'>, name: string): Promise<TableDescription> {
  await using database = openDatabase(settings)
  return await database.use(`reading table ${name}`, (client) => describeTable(client, name))
}
