import { errorCodes, isForebayError, sentenceOf } from '../errors.ts'
import { redactSecrets } from '../text/redaction.ts'
import { stackOf } from '../thrown.ts'
import { paint } from '../text/paint.ts'
import { printable } from '../text/printable.ts'

/** Prints why a command failed, without `secrets`, and gives its exit code. Bugs show their stack, everything else is a sentence. */
export function report(error: unknown, secrets: readonly string[] = []): number {
  const code = isForebayError(error) ? error.code : 'FB_INTERNAL'
  const text = code === 'FB_INTERNAL' ? stackOf(error) : sentenceOf(error)
  process.stderr.write(
    `${paint(process.stderr, 'red', `${code}:`)} ${text.includes('\n') ? '\n' : ''}${redactSecrets(printable(text), secrets)}\n`,
  )
  return errorCodes[code].exitCode
}
