import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import { measureRate } from '../events/topic-rate.ts'
import { topicDrift } from '../events/topic-settings.ts'
import type { FoundTopic, TopicAdmin, TopicDrift, TopicRate, WantedTopic } from '../events/topic-settings.ts'
import { durationText, sizeText } from '../text/units.ts'
import { paint } from '../text/paint.ts'
import { openTarget, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface TopicsOptions extends TargetOptions {
  readonly json?: boolean
}

interface Plan {
  readonly topic: string
  readonly wanted: WantedTopic
  readonly found: FoundTopic | null
  readonly rate: TopicRate | undefined
  readonly drifts: readonly TopicDrift[]
}

const examples = `
Examples:
  forebay topics plan                             what is, what is wanted, and what apply would change
  forebay topics apply -c config/forebay.yaml     make the topic, or change what differs
  forebay topics verify --json                    exit code 78 when something differs

What is wanted is said in the configuration, events.topic. Limits by size are compared with the rate of the last ten minutes.`

/** Adds `forebay topics`. */
export function addTopics(program: Command): void {
  const topics = program.command('topics').description('compare the topic with what the configuration wants, and change it')
  const add = (name: string, description: string, run: (options: TopicsOptions) => Promise<void>) =>
    withTarget(topics.command(name)).description(description).option('--json', 'print JSON').addHelpText('after', examples).action(run)
  add('plan', 'show the differences and what apply would do; changes nothing', (options) =>
    withPlan(options, (plan) => Promise.resolve(show(plan, options))),
  )
  add('apply', 'make the topic if it is missing, and change what differs', apply)
  add('verify', 'exit with 78 when the topic is not as wanted', verify)
}

async function apply(options: TopicsOptions): Promise<void> {
  await withPlan(options, async (plan, admin) => {
    if (plan.found === null) await admin.create(plan.wanted)
    const changes = plan.drifts.flatMap(({ change }) => change ?? [])
    if (changes.length > 0) await admin.apply(changes)
    show(
      plan,
      options,
      plan.found === null
        ? 'made'
        : changes.length === 0
          ? 'nothing to change'
          : `changed: ${changes.map(({ setting }) => setting).join(', ')}`,
    )
    refuseLeft(
      plan.topic,
      plan.drifts.filter(({ change, severity }) => change === null && severity === 'error'),
    )
  })
}

async function verify(options: TopicsOptions): Promise<void> {
  await withPlan(options, (plan) => {
    show(plan, options)
    if (plan.found === null) throw new ForebayError('FB_TOPIC_MISSING', `there is no topic ${plan.topic}; forebay topics apply makes it`)
    refuseLeft(
      plan.topic,
      plan.drifts.filter(({ severity }) => severity === 'error'),
    )
    return Promise.resolve()
  })
}

function refuseLeft(topic: string, left: readonly TopicDrift[]): void {
  if (left.length === 0) return
  const mends = left.map(({ setting, mend }) => `${setting}: ${mend ?? 'forebay topics apply'}`)
  throw new ForebayError('FB_TOPIC_SETTINGS', `topic ${topic} is not as wanted\n${mends.join('\n')}`)
}

async function withPlan(options: TopicsOptions, run: (plan: Plan, admin: TopicAdmin) => Promise<void>): Promise<void> {
  const { settings, pipeline } = await openTarget(options)
  const { openEventLog, openTopicAdmin } = await import('../connect/servers.ts')
  await using admin = openTopicAdmin(settings, pipeline)
  await using log = openEventLog(settings, pipeline)
  const wanted = settings.topic ?? {
    partitions: undefined,
    replication: undefined,
    minInsyncReplicas: undefined,
    replayWindowMs: undefined,
  }
  const found = await admin.describe()
  const rate = found === null || wanted.replayWindowMs === undefined ? undefined : await rateOf(log, found)
  const drifts = found === null ? [] : topicDrift(wanted, found, rate)
  await run({ topic: pipeline.source.topic, wanted, found, rate, drifts }, admin)
}

/** Measured only where a limit by size or count is to be judged. */
function rateOf(log: EventLog, { partitions, retentionBytes, retentionEvents }: FoundTopic): Promise<TopicRate> | undefined {
  return retentionBytes === null && retentionEvents === null ? undefined : measureRate(log, partitions, Date.now())
}

function show(plan: Plan, { json }: TopicsOptions, done?: string): void {
  process.stdout.write(json === true ? `${jsonText({ ...plan, rate: plan.rate ?? null, done: done ?? null })}\n` : textOf(plan, done))
}

function textOf({ topic, found, wanted, drifts }: Plan, done: string | undefined): string {
  const colour = (name: 'red' | 'green' | 'yellow', text: string) => paint(process.stdout, name, text)
  const lines =
    found === null ? [`topic ${topic}: there is none`, colour('green', `+ ${wantedText(wanted)}`)] : [`topic ${topic}: ${foundText(found)}`]
  for (const { setting, severity, found: is, wanted: want, consequence, change, mend } of drifts) {
    lines.push(
      colour(severity === 'error' ? 'red' : 'yellow', `- ${setting}: ${is}`),
      colour('green', `+ ${setting}: ${want}`),
      `  ${consequence}`,
    )
    lines.push(`  ${mend ?? (change === null ? '' : 'forebay topics apply changes it')}`)
  }
  if (found !== null && drifts.length === 0) lines.push(colour('green', 'as wanted'))
  if (done !== undefined) lines.push(done)
  return `${lines.join('\n')}\n`
}

function foundText(found: FoundTopic): string {
  const { partitions, replication, minInsyncReplicas, cleanupPolicy, retentionMs, retentionBytes, retentionEvents } = found
  const parts = [
    `${partitions} partitions`,
    replication === null ? undefined : `replication ${replication}`,
    minInsyncReplicas === null ? undefined : `min ISR ${minInsyncReplicas}`,
    cleanupPolicy === null ? undefined : `cleanup ${cleanupPolicy}`,
    `kept ${retentionMs === null ? 'for ever' : `for ${durationText(retentionMs)}`}`,
    retentionBytes === null ? undefined : `at most ${sizeText(retentionBytes)} a partition`,
    retentionEvents === null ? undefined : `at most ${retentionEvents} events a partition`,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}

function wantedText({ partitions, replication, minInsyncReplicas, replayWindowMs }: WantedTopic): string {
  const parts = [
    `${partitions ?? 4} partitions`,
    replication === undefined ? undefined : `replication ${replication}`,
    minInsyncReplicas === undefined ? undefined : `min ISR ${minInsyncReplicas}`,
    replayWindowMs === undefined ? undefined : `kept for ${durationText(replayWindowMs)} and a quarter`,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}
