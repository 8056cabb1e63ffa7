import type { FoundTopic, TopicDrift } from '../events/topic-settings.ts'
import type { NodeFacts, OpenLetters } from '../inspect/facts.ts'
import { spanText } from '../text/time-text.ts'
import { lettersText } from '../dead-letters/letter-tally.ts'
import { troubleSentence } from '../status/trouble-status.ts'
import type { Finding } from './finding.ts'
import { fail, ok, warn } from './finding.ts'

const skewMaxMs = 2000

/** Pure. `nowMs`: the clock here when the nodes answered. */
export function judgeNodes(nodes: readonly NodeFacts[], differences: readonly string[], nowMs: number): Finding[] {
  const findings = nodes.map(({ id, url, pid, status, silence, isSuspended }) => {
    const name = id ?? `the node at ${url}`
    if (isSuspended === true)
      return fail('nodes', `${name} is suspended`, 'others take over; alone, nothing is processed', `kill -CONT ${pid}`)
    if (silence === 'locked')
      return warn('nodes', `${name} wants another token`, 'commands learn nothing from it', 'give node.tokenFile the token that it has')
    if (status === null)
      return warn(
        'nodes',
        `${name} ${silence === 'silent' ? 'says nothing' : 'does not answer'}`,
        'others take over; alone, nothing is processed',
        'start it, or look at its log',
      )
    const [misfit] = status.misfits
    if (misfit !== undefined)
      return fail('nodes', `${name}: ${misfit}`, 'no event is applied', 'correct the pipeline, and redrive the letters')
    const [reason] = status.reasons
    if (reason !== undefined)
      return fail('nodes', `${name} is not ready: ${reason}`, 'a part of the pipeline stands still', 'forebay explain names the cause')
    const [trouble] = status.troubles
    if (trouble !== undefined)
      return warn(
        'nodes',
        `${name}: ${troubleSentence(trouble, status.nowMs)}`,
        'the work goes on, but slower, or somebody sees less of it',
        'look at the server that it names',
      )
    const skewMs = status.nowMs - nowMs
    if (Math.abs(skewMs) > skewMaxMs)
      return warn(
        'nodes',
        `the clock of ${name} is ${spanText(Math.abs(skewMs))} off`,
        'nothing is lost by it, but latencies and ages are told wrong',
        'let it follow NTP',
      )
    return ok('nodes', `${name} is ready`)
  })
  const strange = differences.map((difference) =>
    fail(
      'configuration',
      `it is not that of the active epoch: ${difference}`,
      'a node with it waits and owns nothing',
      'set it back, or forebay routing plan',
    ),
  )
  return [...findings, ...strange]
}

/** Pure. */
export function judgeLetters(open: readonly OpenLetters[]): Finding[] {
  if (open.length === 0) return [ok('dead letters', 'none is open')]
  return [
    warn(
      'dead letters',
      `open: ${lettersText(open)}`,
      'these events are not in the tables; everything behind them goes on',
      'forebay dead-letters list shows them; after mending the cause redrive them, or discard them',
    ),
  ]
}

/** Pure. `found` null: there is no topic. */
export function judgeTopic(topic: string, found: FoundTopic | null, drifts: readonly TopicDrift[]): Finding[] {
  if (found === null) return [fail('event log', `there is no topic ${topic}`, 'no node starts', 'forebay topics apply')]
  const findings = drifts.map(({ setting, severity, found: is, wanted, consequence, change, mend }) =>
    (severity === 'error' ? fail : warn)(
      'event log',
      `${setting} of topic ${topic} is ${is}, wanted ${wanted}`,
      consequence,
      mend ?? (change === null ? 'see forebay topics plan' : 'forebay topics apply'),
    ),
  )
  if (found.replication === 1)
    findings.push(
      warn(
        'event log',
        `topic ${topic} has one replica`,
        'the loss of that broker loses events that are not processed yet',
        'replicate it: kafka-reassign-partitions.sh',
      ),
    )
  if (found.retentionMs === null && found.retentionBytes === null && found.retentionEvents === null)
    findings.push(
      warn(
        'event log',
        `topic ${topic} keeps everything for ever`,
        'its disks fill one day',
        'set a retention that covers the replay window',
      ),
    )
  return findings.length > 0 ? findings : [ok('event log', `topic ${topic}: ${found.partitions} partitions, set up as wanted`)]
}
