/**
 * Dead letters as lines of COPY, which takes many of them in a third of the time of an insert.
 */
import type { DeadLetter } from './ledger.ts'

export interface LetterOrigin {
  readonly pipeline: string
  readonly epoch: number
  readonly topic: string
}

const columns =
  'pipeline, epoch, topic, partition, queue, "offset", ordinal, task, error, payload, is_payload_cut, is_job, traceparent, event_ms'

export const copyLetters = `copy forebay.dead_letters (${columns}) from stdin`

/** One line a letter. */
export function letterLines(origin: LetterOrigin, letters: readonly DeadLetter[]): Buffer {
  const start = `${field(origin.pipeline)}\t${origin.epoch}\t${field(origin.topic)}`
  let [said, saidField] = ['', '']
  const lines = letters.map((letter) => {
    const { partition, queue, offset, ordinal, task, error, payload, isPayloadCut, isJob = false, traceparent, eventTimeMs } = letter
    // Very many are refused for the same.
    if (error !== said) [said, saidField] = [error, field(error)]
    const bytes = payload === null ? String.raw`\N` : String.raw`\\x${payload.toString('hex')}`
    return `${start}\t${partition}\t${queue}\t${offset}\t${ordinal}\t${field(task)}\t${saidField}\t${bytes}\t${isPayloadCut}\t${isJob}\t${field(traceparent)}\t${eventTimeMs ?? String.raw`\N`}\n`
  })
  return Buffer.from(lines.join(''))
}

function field(text: string | null | undefined): string {
  if (text === null || text === undefined) return String.raw`\N`
  return special.test(text) ? text.replaceAll(everySpecial, (char) => escapes[char]!) : text
}

const special = /[\0\\\t\n\r]/
const everySpecial = /[\0\\\t\n\r]/g
/** Postgres has no U+0000. */
const escapes: Readonly<Record<string, string>> = { '\0': '\ufffd', '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }
