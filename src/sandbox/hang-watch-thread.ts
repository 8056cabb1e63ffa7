/**
 * The thread that watches the one which converts. It ends the process when that one has not turned for `hangTimeoutMs`, having said in which
 * event it was and counted the death in the book of owners; when the process has lost its parent; and when it holds too much memory.
 *
 * Time counts only as far as this thread itself ran: after a sleep of the machine, or SIGSTOP, one look counts for two intervals at most.
 */
import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { Converting, placeText } from '../ingest/converting.ts'
import type { ConvertingPlace } from '../ingest/converting.ts'
import type { HangWatchData } from './hang-watch.ts'

const { memory, intervalMs, hangTimeoutMs, parentPid, memoryBytesMax = Infinity, topic, tasks, book } = workerData as HangWatchData
const converting = new Converting(memory)
const recordMs = 5000

let beats = -1
let stillMs = 0
let lookedMs = performance.now()

setInterval(() => {
  const nowMs = performance.now()
  const passedMs = Math.min(nowMs - lookedMs, 2 * intervalMs)
  lookedMs = nowMs
  if (parentPid !== undefined && process.ppid !== parentPid) end()
  if (process.memoryUsage.rss() > memoryBytesMax) endForMemory()
  if (hangTimeoutMs === 0) return
  if (converting.beats !== beats) {
    beats = converting.beats
    stillMs = 0
    return
  }
  stillMs += passedMs
  if (stillMs < hangTimeoutMs) return
  stillMs = -Infinity
  const place = converting.place(tasks)
  say(place)
  void record(place).then(end, end)
}, intervalMs)

function say(place: ConvertingPlace | undefined): void {
  const what =
    place?.isRunning === true
      ? `converting the event at ${placeText(topic, place)}`
      : `outside of any conversion${place === undefined ? '' : `, after ${placeText(topic, { ...place, task: null })}`}`
  const text = `the node has not turned for ${hangTimeoutMs / 1000} s (node.hangTimeout) while ${what}; it is ended, and others go on from the watermarks`
  const line = { level: 'fatal', time: new Date().toISOString(), code: 'FB_HANG', msg: text }
  try {
    writeSync(2, `${JSON.stringify(line)}\n`)
  } catch {
    // Nobody reads any more.
  }
}

/** Counts the death where it happened, so that the next owner need not meet the event. */
async function record(place: ConvertingPlace | undefined): Promise<void> {
  if (book === undefined || place?.isRunning !== true) return
  const [{ default: pg }, { databaseConnection }] = await Promise.all([import('pg'), import('../database/database-url.ts')])
  const client = new pg.Client({ ...databaseConnection(book.url), connectionTimeoutMillis: recordMs, query_timeout: recordMs })
  client.on('error', () => undefined)
  await client.connect()
  await client.query(
    `insert into forebay.suspects as s (pipeline, partition, "offset", epoch, deaths)
     select $1, $2, $3, max(epoch), 1 from forebay.epochs where pipeline = $1
     on conflict (pipeline, partition, "offset") do update set deaths = s.deaths + 1, last_at = now()`,
    [book.pipeline, place.partition, String(place.offset)],
  )
}

/** In the words of a heap that is full: buffers and native code are not in it. */
function endForMemory(): void {
  try {
    writeSync(2, `FATAL ERROR: the process held more than ${Math.round(memoryBytesMax / 2 ** 20)} MiB of memory\n`)
  } catch {
    // Nobody reads any more.
  }
  end()
}

function end(): void {
  process.kill(process.pid, 'SIGKILL')
}
