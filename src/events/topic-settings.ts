/**
 * How a topic is set up, and how a pipeline needs it: what is wanted is compared with what is there. Pure, beside the port that
 * reads and changes it.
 */
import { durationText, sizeText } from '../text/units.ts'

/** As the configuration wants it (`events.topic`); undefined: whatever it is. */
export interface WantedTopic {
  readonly partitions: number | undefined
  readonly replication: number | undefined
  readonly minInsyncReplicas: number | undefined
  /** Events must stay at least this long. */
  readonly replayWindowMs: number | undefined
}

/** As it is. Null: no limit, or (replication, ISR, cleanup) not a thing of this log. */
export interface FoundTopic {
  readonly partitions: number
  readonly replication: number | null
  readonly minInsyncReplicas: number | null
  /** `delete`, `compact` or both. */
  readonly cleanupPolicy: string | null
  readonly retentionMs: number | null
  /** For each partition, in bytes of the log (Kafka). */
  readonly retentionBytes: number | null
  /** For each partition, in events (the log in Postgres). */
  readonly retentionEvents: number | null
}

/** What the busiest partition takes in, measured. */
export interface TopicRate {
  readonly bytesPerSecond: number
  readonly eventsPerSecond: number
}

export type TopicSetting = 'partitions' | 'cleanupPolicy' | 'retentionMs' | 'retentionBytes' | 'retentionEvents' | 'minInsyncReplicas'

/** One setting that `apply` would change; null takes the limit away. */
export interface TopicChange {
  readonly setting: TopicSetting
  readonly value: number | string | null
}

export interface TopicDrift {
  readonly setting: TopicSetting | 'replication' | 'topic'
  readonly severity: 'error' | 'warn'
  readonly found: string
  readonly wanted: string
  readonly consequence: string
  /** Null: no command of forebay changes it; `mend` says what does. */
  readonly change: TopicChange | null
  readonly mend: string | null
}

/** Reads and changes one topic. */
export interface TopicAdmin extends AsyncDisposable {
  /** Null when there is none. Throws FB_EVENT_LOG_UNREACHABLE. */
  describe(): Promise<FoundTopic | null>
  /** Throws FB_EVENT_LOG_UNREACHABLE, and FB_CONFIG for what the log refuses. */
  create(wanted: WantedTopic): Promise<void>
  apply(changes: readonly TopicChange[]): Promise<void>
}

export const partitionsDefault = 4
/** Room above the replay window: retention deletes whole segments, and rates rise. */
const timeHeadroom = 1.25
const sizeHeadroom = 1.5

/** Every difference that matters, errors first. `rate` undefined: limits by size are not judged. */
export function topicDrift(wanted: WantedTopic, found: FoundTopic, rate: TopicRate | undefined): TopicDrift[] {
  const drifts = [...cleanup(found), ...shape(wanted, found), ...insync(wanted, found), ...retention(wanted, found, rate)]
  return drifts.toSorted((a, b) => Number(a.severity === 'warn') - Number(b.severity === 'warn'))
}

function cleanup({ cleanupPolicy, retentionMs }: FoundTopic): TopicDrift[] {
  if (cleanupPolicy === null || !cleanupPolicy.includes('compact')) return []
  const kept = retentionMs === null ? '' : ' and events older than its retention are deleted'
  const consequence = `compaction deletes events that a newer one of the same key replaces, so jobs of it cannot be made again after a loss${kept}`
  return [drift('cleanupPolicy', 'error', cleanupPolicy, 'delete', consequence, { setting: 'cleanupPolicy', value: 'delete' })]
}

function shape({ partitions, replication }: WantedTopic, found: FoundTopic): TopicDrift[] {
  const drifts: TopicDrift[] = []
  if (partitions !== undefined && found.partitions < partitions) {
    const consequence = 'fewer nodes can read than planned; keys of a producer move to other partitions when some are added'
    drifts.push(
      drift('partitions', 'error', `${found.partitions}`, `${partitions}`, consequence, { setting: 'partitions', value: partitions }),
    )
  }
  if (partitions !== undefined && found.partitions > partitions) {
    const mend = `partitions cannot be taken away: set events.topic.partitions to ${found.partitions}`
    drifts.push({ ...drift('partitions', 'warn', `${found.partitions}`, `${partitions}`, 'the configuration is out of date', null), mend })
  }
  if (replication !== undefined && found.replication !== null && found.replication !== replication) {
    const severity = found.replication < replication ? 'error' : 'warn'
    const mend = 'move the replicas with kafka-reassign-partitions.sh: that copies whole partitions and wants a plan of its own'
    const consequence =
      severity === 'error' ? 'the loss of a broker may lose events before they are processed' : 'the configuration is out of date'
    drifts.push({ ...drift('replication', severity, `${found.replication}`, `${replication}`, consequence, null), mend })
  }
  return drifts
}

function insync({ minInsyncReplicas, replication }: WantedTopic, found: FoundTopic): TopicDrift[] {
  if (found.minInsyncReplicas === null) return []
  const drifts: TopicDrift[] = []
  const wanted = minInsyncReplicas ?? found.minInsyncReplicas
  const copies = found.replication ?? replication ?? 1
  if (wanted !== found.minInsyncReplicas) {
    const consequence =
      found.minInsyncReplicas < wanted
        ? 'an acknowledged event may be on fewer brokers than wanted'
        : 'publishing stops earlier than wanted when brokers are down'
    const change = { setting: 'minInsyncReplicas', value: wanted } as const
    drifts.push(drift('minInsyncReplicas', 'error', `${found.minInsyncReplicas}`, `${wanted}`, consequence, change))
  }
  if (wanted > copies) {
    const mend = 'lower events.topic.minInsyncReplicas, or raise the replication first'
    drifts.push({
      ...drift(
        'minInsyncReplicas',
        'error',
        `${wanted}`,
        `at most ${copies}`,
        'nobody can publish with acks=all: there are fewer replicas',
        null,
      ),
      mend,
    })
  }
  return drifts
}

function retention({ replayWindowMs }: WantedTopic, found: FoundTopic, rate: TopicRate | undefined): TopicDrift[] {
  if (replayWindowMs === undefined) return []
  const drifts: TopicDrift[] = []
  const consequence = `a replay of ${durationText(replayWindowMs)} is not possible, and a pipeline that stands still as long halts`
  if (found.retentionMs !== null && found.retentionMs < replayWindowMs) {
    const value = Math.ceil(replayWindowMs * timeHeadroom)
    const wanted = `${durationText(value)} (the replay window of ${durationText(replayWindowMs)} and a quarter)`
    drifts.push(drift('retentionMs', 'error', durationText(found.retentionMs), wanted, consequence, { setting: 'retentionMs', value }))
  }
  const seconds = replayWindowMs / 1000
  const bytes = rate === undefined ? 0 : Math.ceil(rate.bytesPerSecond * seconds * sizeHeadroom)
  if (found.retentionBytes !== null && found.retentionBytes < bytes) {
    const wanted = `${sizeText(bytes)} a partition (${sizeText(Math.round(rate!.bytesPerSecond))}/s measured, and half)`
    drifts.push(
      drift('retentionBytes', 'error', sizeText(found.retentionBytes), wanted, consequence, { setting: 'retentionBytes', value: bytes }),
    )
  }
  const events = rate === undefined ? 0 : Math.ceil(rate.eventsPerSecond * seconds * sizeHeadroom)
  if (found.retentionEvents !== null && found.retentionEvents < events) {
    const wanted = `${events} events a partition (${Math.round(rate!.eventsPerSecond)}/s measured, and half)`
    drifts.push(
      drift('retentionEvents', 'error', `${found.retentionEvents} events`, wanted, consequence, {
        setting: 'retentionEvents',
        value: events,
      }),
    )
  }
  return drifts
}

function drift(
  setting: TopicDrift['setting'],
  severity: TopicDrift['severity'],
  found: string,
  wanted: string,
  consequence: string,
  change: TopicChange | null,
): TopicDrift {
  return { setting, severity, found, wanted, consequence, change, mend: null }
}
