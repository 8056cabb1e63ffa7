/**
 * Structured logs: one line of JSON an event, on stderr, so that stdout stays free for what a command answers.
 * Passwords inside URLs, `password=` parameters and the given secrets never reach a line.
 */
import type { LogLevel } from '../config/settings.ts'
import { pino, type DestinationStream, type Logger } from 'pino'
import { sentenceOf, stackOf } from '../thrown.ts'
import { redactSecrets } from '../text/redaction.ts'

export interface LoggerOptions {
  /** Lines below it are dropped. Default `info`. */
  readonly level?: LogLevel
  /** Name of the node, in every line. */
  readonly node: string
  /** Texts that are blotted out wherever they occur; shorter than 4 characters they are ignored. */
  readonly secrets?: readonly string[]
  /** Default: stderr. */
  readonly destination?: DestinationStream
}

const blot = '***'
const secretFields = ['password', 'secret', 'token', 'authorization', '*.password', '*.secret', '*.token', '*.authorization']

export function createLogger(options: LoggerOptions): Logger {
  const secrets = secretTexts(options.secrets ?? [])
  return pino(
    {
      level: options.level ?? 'info',
      base: { node: options.node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Pino's own reads whatever it finds on an error and its causes, which may throw or have no end.
      serializers: { err: (thrown: unknown) => ({ message: sentenceOf(thrown), stack: stackOf(thrown) }) },
      redact: { paths: secretFields, censor: blot },
      hooks: { streamWrite: (line) => redactSecrets(line, secrets) },
    },
    options.destination ?? pino.destination({ fd: 2, sync: true }),
  )
}

/** The secrets as they look raw and inside a JSON string. */
function secretTexts(secrets: readonly string[]): string[] {
  const long = secrets.filter((secret) => secret.length >= 4)
  return [...new Set(long.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]))]
}
