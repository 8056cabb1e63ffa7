#!/usr/bin/env node
/**
 * The command `forebay`. Exit codes: 0 all well, 64 wrong command line, 78 wrong configuration or pipeline, 69 something
 * does not answer, 70 a bug; see errors.ts.
 */
import { runCommand } from './run-command.ts'

const exitCode = await runCommand(process.argv.slice(2))
for (const stream of [process.stdout, process.stderr]) await new Promise((written) => stream.write('', written))
// A connection that a client library forgot to close would keep a finished command alive for minutes.
process.exit(exitCode)
