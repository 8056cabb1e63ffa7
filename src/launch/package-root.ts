import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of forebay's package.json: the same from `src/launch` and from `dist/launch`. */
export const packageRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Where the server jars are provisioned: ignored by git, shared by all runs of this checkout. */
export const serversFolder = join(packageRoot, '.servers')
