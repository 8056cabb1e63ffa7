#!/usr/bin/env node
/**
 * The command `forebay`. Exit codes: 0 all well, 64 wrong command line, 78 wrong configuration or pipeline, 69 something
 * does not answer, 70 a bug; see errors.ts.
 */
import { runCommand } from './run-command.ts'

process.exitCode = await runCommand(process.argv.slice(2))
