export { sentenceOf } from './thrown.ts'

/**
 * Every failure has a code, and every code one retry policy and one exit code:
 * `retry`  it may pass by itself: back off and try again;
 * `halt`   one part (a partition, a task) stands still and says so until an operator mends it;
 * `fatal`  the node stops with the sentence and the exit code.
 */
export const errorCodes = {
  FB_INTERNAL: { policy: 'fatal', exitCode: 70, meaning: 'a bug in forebay' },
  FB_SANDBOX: { policy: 'retry', exitCode: 69, meaning: 'the process for events that end their process does not start' },
  FB_USER_CODE: { policy: 'fatal', exitCode: 71, meaning: 'code of the pipeline failed outside of the functions that forebay calls' },
  FB_USAGE: { policy: 'fatal', exitCode: 64, meaning: 'the command line is wrong' },
  FB_CONFIG: { policy: 'fatal', exitCode: 78, meaning: 'the configuration is wrong' },
  FB_PIPELINE: { policy: 'fatal', exitCode: 78, meaning: 'the pipeline definition is wrong' },
  FB_TOOL_MISSING: { policy: 'fatal', exitCode: 69, meaning: 'a program this command needs is not installed' },
  FB_SERVER_START: { policy: 'fatal', exitCode: 69, meaning: 'a server that forebay starts did not come up' },
  FB_NODE_UNREACHABLE: { policy: 'retry', exitCode: 69, meaning: 'a node does not answer' },
  FB_EVENT_LOG_UNREACHABLE: { policy: 'retry', exitCode: 69, meaning: 'the event log does not answer' },
  FB_EVENT_LOG_FAILED: { policy: 'retry', exitCode: 69, meaning: 'the event log failed in a way that forebay does not know' },
  FB_EVENT_LOG_LOGIN: { policy: 'retry', exitCode: 78, meaning: 'the event log and this node do not agree on TLS or login' },
  FB_EVENT_LOG_REFUSED: { policy: 'halt', exitCode: 78, meaning: 'the event log does not let this node read' },
  FB_EVENT_LOG_UNREADABLE: {
    policy: 'halt',
    exitCode: 65,
    meaning: 'the event log holds what cannot be read: damaged, or in an unknown codec',
  },
  FB_EVENT_LOG_UNSUPPORTED: { policy: 'halt', exitCode: 78, meaning: 'the event log is of a version that is not supported' },
  FB_TOPIC_MISSING: { policy: 'fatal', exitCode: 78, meaning: 'the topic does not exist' },
  FB_UNWELL: { policy: 'fatal', exitCode: 1, meaning: 'forebay doctor found errors' },
  FB_TOPIC_SETTINGS: { policy: 'fatal', exitCode: 78, meaning: 'the topic is not set up as the pipeline needs it' },
  FB_REGISTRY_UNREACHABLE: { policy: 'retry', exitCode: 69, meaning: 'the schema registry does not answer as one' },
  FB_REGISTRY_REFUSED: { policy: 'retry', exitCode: 78, meaning: 'the schema registry does not let this node read' },
  FB_GRID_UNREACHABLE: { policy: 'retry', exitCode: 69, meaning: 'the grid does not answer' },
  FB_GRID_SETTINGS: { policy: 'fatal', exitCode: 78, meaning: 'the running grid is not configured as forebay needs it' },
  FB_DATABASE_UNREACHABLE: { policy: 'retry', exitCode: 69, meaning: 'the database does not answer' },
  FB_DATABASE_REFUSED: { policy: 'halt', exitCode: 78, meaning: 'the database does not let this user in, or not do what it must' },
  FB_DATABASE_TLS: { policy: 'retry', exitCode: 78, meaning: 'the database and this node do not agree on TLS' },
  FB_DATABASE_FULL: { policy: 'retry', exitCode: 75, meaning: 'the database has no connection, or no disk space, left' },
  FB_DATABASE_WRONG: { policy: 'fatal', exitCode: 78, meaning: 'the ledger in this database belongs to something else' },
  FB_CATALOGUE: { policy: 'fatal', exitCode: 78, meaning: 'a table does not fit the pipeline' },
  FB_SCHEMA: { policy: 'halt', exitCode: 65, meaning: 'the database refuses a whole task: a table, column or partition is missing, say' },
  FB_BAD_JOB: { policy: 'halt', exitCode: 65, meaning: 'one job cannot be encoded or written' },
  FB_BAD_EVENT: { policy: 'halt', exitCode: 65, meaning: 'one event cannot be decoded' },
  FB_SINK: { policy: 'retry', exitCode: 69, meaning: 'a sink of the pipeline failed' },
  FB_FENCED: { policy: 'retry', exitCode: 75, meaning: 'another node moved a watermark first' },
  FB_EPOCH_CLOSED: { policy: 'halt', exitCode: 75, meaning: 'the epoch of this node is not the active one' },
  FB_FINGERPRINT: { policy: 'halt', exitCode: 78, meaning: 'the version of the pipeline was superseded' },
  FB_ROUTING: { policy: 'halt', exitCode: 75, meaning: 'routing or limits differ from the active epoch: the node waits for a cut' },
  FB_RETENTION_PASSED: { policy: 'halt', exitCode: 74, meaning: 'the log no longer holds events that were not yet processed' },
  FB_TASKS: {
    policy: 'halt',
    exitCode: 75,
    meaning: 'the tasks differ from the active epoch: the node waits for a word or for others to stop',
  },
  FB_LOG_TRUNCATED: { policy: 'halt', exitCode: 74, meaning: 'the log ends before what was already processed' },
  FB_FEED: { policy: 'fatal', exitCode: 65, meaning: 'the file to be fed cannot be read' },
  FB_TABLE_DIFFERS: { policy: 'fatal', exitCode: 1, meaning: 'a table is not what its events call for' },
  FB_INTERRUPTED: { policy: 'fatal', exitCode: 75, meaning: 'a command was stopped before its end' },
  FB_IDENTITY: { policy: 'fatal', exitCode: 78, meaning: 'the event log is not the one this ledger was built on' },
} as const

export type ErrorCode = keyof typeof errorCodes
export type RetryPolicy = (typeof errorCodes)[ErrorCode]['policy']

/**
 * Tells ours from foreign objects without touching them: `instanceof` runs the traps of a proxy, and throws at a revoked one. All copies of
 * forebay in a process have it in common: the module of a pipeline brings its own.
 */
const made = sharedSet(Symbol.for('forebay.errors'))

function sharedSet(name: symbol): WeakSet<object> {
  const place = globalThis as unknown as Record<symbol, WeakSet<object> | undefined>
  return (place[name] ??= new WeakSet())
}

/** An error whose message is a sentence for a person: what was wrong, where, and what to do. */
export class ForebayError extends Error {
  override readonly name = 'ForebayError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    // A pipeline in JavaScript may name a code that there is not.
    this.code = Object.hasOwn(errorCodes, code) ? code : 'FB_INTERNAL'
    made.add(this)
  }

  get policy(): RetryPolicy {
    return errorCodes[this.code].policy
  }

  get exitCode(): number {
    return errorCodes[this.code].exitCode
  }
}

/** Whether `error` is a forebay error, of `code` when one is named. Never throws, whatever was thrown. */
export function isForebayError(error: unknown, code?: ErrorCode): error is ForebayError {
  return typeof error === 'object' && error !== null && made.has(error) && (code === undefined || (error as ForebayError).code === code)
}

const causesMax = 8

/**
 * What the server, the client library or the system calls a failure: a SQLSTATE (`53100`), a name of Kafka's protocol
 * (`TOPIC_AUTHORIZATION_FAILED`), of the system (`ECONNREFUSED`), or the class of the innermost error. Undefined when nothing but
 * forebay itself speaks.
 */
export function serverCodeOf(error: unknown): string | undefined {
  let found: string | undefined
  let innermost: string | undefined
  for (let at = error, depth = 0; at instanceof Error && depth < causesMax; at = at.cause, depth++) {
    if (isForebayError(at)) continue
    const { type, code, name } = at as Error & { readonly type?: unknown; readonly code?: unknown }
    found = [type, code].find((part): part is string => typeof part === 'string' && part !== '') ?? found
    innermost = name
  }
  return found ?? innermost
}
