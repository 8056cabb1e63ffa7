/**
 * Failures outside of every call: a promise that nobody waits for, a timer that `convert` started. Nothing can be made a dead letter of
 * them, and nobody knows what they left half done: the process ends with a sentence, and another one goes on from the watermarks.
 */
import { types } from 'node:util'
import { fileURLToPath } from 'node:url'
import { ForebayError, isForebayError } from '../errors.ts'
import { placeText } from '../ingest/converting.ts'
import type { ConvertingPlace } from '../ingest/converting.ts'
import { sentenceOf, stackOf } from '../thrown.ts'

export interface StrayOptions {
  readonly topic: string
  readonly place: () => ConvertingPlace | undefined
  /** Called once, with FB_USER_CODE or FB_INTERNAL. */
  readonly end: (error: ForebayError) => void
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const ownFolders = [`${root}src/`, `${root}dist/`]
const frame = /(?:\(|\bat )(?:file:\/\/)?(\/[^\s()?]+)(?:\?[^\s():]*)?:(\d+):\d+\)?$/gm

/** Ends the process at the first such failure. Returns what takes the listeners away again. */
export function endAtStrayFailures({ topic, place, end }: StrayOptions): () => void {
  let isEnding = false
  const onFailure = (thrown: unknown) => {
    if (isEnding) return
    isEnding = true
    end(strayFailure(thrown, topic, place()))
  }
  process.on('uncaughtException', onFailure)
  process.on('unhandledRejection', onFailure)
  return () => {
    process.off('uncaughtException', onFailure)
    process.off('unhandledRejection', onFailure)
  }
}

export function strayFailure(thrown: unknown, topic: string, place: ConvertingPlace | undefined): ForebayError {
  const origin = originOf(thrown)
  if (origin === 'own') return new ForebayError('FB_INTERNAL', stackOf(thrown))
  const where = place === undefined ? 'no event was converted before it' : whereText(topic, place)
  const from = origin === undefined ? '' : ` (${origin})`
  return new ForebayError(
    'FB_USER_CODE',
    `Code of the pipeline failed outside of decode, key, convert and latestBy, where no dead letter can be made of it: ${sentenceOf(thrown, 1000)}${from}; ` +
      `${where}. Start nothing there that goes on by itself (promises, timers), or catch its failures.`,
  )
}

/** A failure of code that goes on by itself comes after all events of a go. */
function whereText(topic: string, place: ConvertingPlace): string {
  if (place.isRunning) return `it was converting ${placeText(topic, place)}`
  const { among, partition, offset } = place
  if (among === undefined || offset < among[0] || offset > among[1])
    return `the last event converted before it is ${placeText(topic, place)}`
  return `the last events converted before it are offsets ${among[0]} to ${among[1]} of partition ${partition} of topic ${topic}`
}

/** `own`: forebay or a library it uses; else the file and line of the pipeline it comes from, where they are known. */
function originOf(thrown: unknown): string | undefined {
  if (isForebayError(thrown)) return 'own'
  if (!types.isNativeError(thrown)) return undefined
  const frames = [...stackOf(thrown).matchAll(frame)].map(([, file = '', line = '']) => ({ file, line }))
  for (const { file, line } of frames) {
    if (ownFolders.some((folder) => file.startsWith(folder))) return 'own'
    if (!file.includes('/node_modules/')) return `${file}:${line}`
  }
  return 'own'
}
