import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Sink } from 'forebay'

/**
 * A file of JSON lines for each node in `folder`: every job at least once. A job that comes again has the same `id`. A node that dies
 * may leave half a line, which ends where the next begins.
 */
export function ndjsonFile<Row extends object>(folder: string): Sink<Row> {
  return {
    kind: 'ndjson-file',
    label: `files in ${folder}`,
    delivery: 'at-least-once',
    async open({ node }) {
      const file = await open(join(folder, `${node}.ndjson`), 'a')
      return {
        async deliver(batch) {
          const lines = [...batch].map(({ id, row }) => `\n${JSON.stringify({ id, ...(row as object) })}`)
          await file.appendFile(lines.join(''))
          await file.datasync()
        },
        close: () => file.close(),
      }
    },
  }
}
