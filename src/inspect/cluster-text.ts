/** The view of a cluster for a terminal. Pure; `paint` colours. */
import { cronCells, cronHead } from '../cron/cron-text.ts'
import { lettersText } from '../dead-letters/letter-tally.ts'
import { durationText, sizeText } from '../text/units.ts'
import type { ClusterView, NodeView, PartitionView, QueueView, TaskView } from './cluster-view.ts'
import type { Paint } from './explanation-text.ts'
import { printable } from '../text/printable.ts'
import { tableText } from '../text/table-text.ts'
import { spanText } from '../text/time-text.ts'

export function clusterText(view: ClusterView, paint: Paint): string {
  const { pipeline, topic, epoch, version, lag } = view
  const behind = lag.events === null ? 'lag unknown' : `${lag.events} events behind`
  const lines = [
    `${paint('bold', `pipeline ${pipeline}`)}  topic ${topic}  epoch ${epoch ?? '-'}  version ${version ?? '-'}`,
    `${view.isWell ? paint('green', 'all well') : paint('red', 'not well')}  ${behind}${lag.ms === null ? '' : `, the oldest for ${spanText(lag.ms)}`}; ${lag.jobs} jobs (${sizeText(lag.bytes)}) wait at their readers`,
    ...(view.deadLetters.length === 0
      ? []
      : [`  ${paint('yellow', printable(`dead letters open: ${lettersText(view.deadLetters)} (forebay dead-letters list)`))}`]),
    ...view.troubles.map((trouble) => `  ${paint('yellow', printable(trouble))}`),
    ...tableText(['node', 'state', 'epoch', 'partitions', 'queues', 'memory', 'timers late p99', 'address'], view.nodes.map(nodeRow)),
    ...tableText(
      ['partition', 'owner', 'floor', 'position', 'log start', 'log end', 'lag', 'age', 'state'],
      view.partitions.map(partitionRow),
    ),
    ...tableText(['queue', 'owner', 'reader', 'window', 'bytes', 'jobs waiting', 'age', 'applied'], view.queues.map(queueRow)),
    ...tableText(
      ['task', 'every', 'rows', 'latency p50', 'p99', 'p99.9', 'tick slip p99', 'flush p99', 'waiting', 'state'],
      view.tasks.map(taskRow),
    ),
    ...tableText(cronHead, view.cron.map(cronCells)),
  ]
  return `${lines.join('\n')}\n`
}

function nodeRow({ node, state, epoch, partitions, queues, rssBytes, timersLateP99Ms, url }: NodeView): string[] {
  const memory = rssBytes === null ? '-' : sizeText(rssBytes)
  return [node, state, `${epoch ?? '-'}`, `${partitions}`, `${queues}`, memory, milliseconds(timersLateP99Ms), url ?? '-']
}

function partitionRow(row: PartitionView): string[] {
  const { partition, owner, floor, position, startOffset, endOffset, lagEvents, lagMs, haltedReason } = row
  const offsets = [floor, position, startOffset, endOffset].map((offset) => offset ?? '-')
  const state = haltedReason === null ? (owner === null ? 'no owner' : 'running') : `halted: ${haltedReason}`
  return [`${partition}`, owner ?? '-', ...offsets, `${lagEvents ?? '-'}`, lagMs === null ? '-' : spanText(lagMs), state]
}

function queueRow(row: QueueView): string[] {
  const { queue, owner, reader, windowSegments, windowSegmentsMax, windowBytes, jobs, bytes, oldestMs, applied } = row
  const window = windowSegments === null ? '-' : `${windowSegments}/${windowSegmentsMax}`
  const held = windowBytes ?? bytes
  const marks = Object.entries(applied).map(([task, offset]) => `${task} ${offset}`)
  return [
    queue,
    owner ?? '-',
    reader ?? '-',
    window,
    held === null ? '-' : sizeText(held),
    `${jobs ?? '-'}`,
    oldestMs === null ? '-' : spanText(oldestMs),
    marks.join(', '),
  ]
}

function taskRow(row: TaskView): string[] {
  const { task, everyMs, rows, latencyMs, tickSlipP99Ms, flushP99Ms, jobsWaiting, flushingMs, attempts, lastError, blockedReason } = row
  const latencies = [latencyMs.p50, latencyMs.p99, latencyMs.p999, tickSlipP99Ms, flushP99Ms].map(milliseconds)
  const state =
    blockedReason !== null
      ? `blocked: ${blockedReason}`
      : attempts > 0
        ? `${attempts} failed attempts: ${lastError ?? '-'}`
        : flushingMs !== null && flushingMs > 1000
          ? `flushing for ${spanText(flushingMs)}`
          : 'running'
  return [task, durationText(everyMs), `${rows}`, ...latencies, `${jobsWaiting}`, state]
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${Math.round(value * 10) / 10} ms`
}
