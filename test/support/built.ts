/**
 * Commands and nodes in processes of their own run as they are installed: from `dist`, which the set-up of the live tests builds from
 * the sources of the moment. From their sources they would start four times as slowly.
 */
import { join } from 'node:path'
import { packageRoot } from '../../src/launch/package-root.ts'

/** The command `forebay`, for `node`. */
export const builtCommand = join(packageRoot, 'dist', 'cli', 'main.js')
