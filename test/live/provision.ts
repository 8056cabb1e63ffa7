/** Gets the jars of the live tests ready. Exit code 3 when Java or Maven is missing, 1 when Maven fails. */
import { isForebayError } from '../../src/errors.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'

try {
  await provisionJars(serversFolder, (line) => void process.stderr.write(`${line}\n`))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = isForebayError(error, 'FB_TOOL_MISSING') ? 3 : 1
}
