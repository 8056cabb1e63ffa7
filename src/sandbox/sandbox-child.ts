/**
 * The process that converts events which may end their process. It says which event it begins with before it begins; the rest is seen
 * by who started it. It has no connection to any server, and ends with its parent, even from within an endless loop.
 */
import { writeFileSync, writeSync } from 'node:fs'
import { EventHeaders } from '../pipeline/event-headers.ts'
import { isForebayError } from '../errors.ts'
import type { EventRecord } from '../events/event-log.ts'
import type { Converter } from '../ingest/converter.ts'
import { converterOf } from '../ingest/converter-of.ts'
import { loadPipeline } from '../pipeline/load-pipeline.ts'
import { sentenceOf } from '../thrown.ts'
import { startHangWatch } from './hang-watch.ts'
import { progressFd } from './sandbox-wire.ts'
import type { FromSandbox, SandboxSetup, ToSandbox, WireRecord } from './sandbox-wire.ts'

/** Beyond the heap, which has a bound of its own: buffers, and what native code takes. */
const memoryBytesMax = 2 ** 30
let converter: Converter | undefined

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.on('disconnect', () => process.exit(0))
process.on('message', (message: ToSandbox) => void ('setup' in message ? setUp(message.setup) : convert(message)))
preferForKilling()

async function setUp({ pipelineFile, fileHash, tasks, limits, parentPid }: SandboxSetup): Promise<void> {
  startHangWatch({ hangTimeoutMs: 0, parentPid, memoryBytesMax })
  try {
    const loaded = await loadPipeline(pipelineFile)
    if (loaded.fileHash !== fileHash) return say({ refusal: `${pipelineFile} has changed since the node started: restart the node` })
    const { pipeline } = loaded
    const chosen = tasks.map((name) => pipeline.tasks.find((task) => task.name === name)!)
    converter = converterOf(pipeline, chosen, limits)
    say({ isReady: true })
  } catch (error) {
    say({ refusal: sentenceOf(error) })
  }
}

async function convert({ partition, records }: Extract<ToSandbox, { records: unknown }>): Promise<void> {
  try {
    const events = records.map(recordOf)
    const preparing = converter!.prepare(events)
    if (preparing !== undefined) await preparing
    const converted = events.map((event, index) => {
      writeSync(progressFd, Uint8Array.of(index))
      return converter!.convert(event, partition)
    })
    say({ converted })
  } catch (error) {
    if (!isForebayError(error) || error.policy !== 'retry') throw error
    say({ unprepared: { code: error.code, sentence: error.message } })
  }
}

function recordOf({ key, value, headers, ...rest }: WireRecord): EventRecord {
  return {
    ...rest,
    key: bufferOf(key),
    value: bufferOf(value),
    ...(headers === undefined ? {} : { headers: new EventHeaders(() => headers) }),
  }
}

function bufferOf(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function say(message: FromSandbox): void {
  process.send!(message)
}

/** Where memory runs out, the system ends this process before its parent (Linux; elsewhere there is no such file). */
function preferForKilling(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000')
  } catch {
    // Then it decides by itself.
  }
}
