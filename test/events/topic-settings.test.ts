import { describe, expect, it } from 'vitest'
import type { FoundTopic, WantedTopic } from '../../src/events/topic-settings.ts'
import { topicDrift } from '../../src/events/topic-settings.ts'

const hour = 3_600_000
const found = (change: Partial<FoundTopic> = {}): FoundTopic => ({
  partitions: 4,
  replication: 3,
  minInsyncReplicas: 2,
  cleanupPolicy: 'delete',
  retentionMs: 24 * hour,
  retentionBytes: null,
  retentionEvents: null,
  ...change,
})
const wanted = (change: Partial<WantedTopic> = {}): WantedTopic => ({
  partitions: 4,
  replication: 3,
  minInsyncReplicas: 2,
  replayWindowMs: 24 * hour,
  ...change,
})
const rate = { bytesPerSecond: 1_000_000, eventsPerSecond: 5000 }
const seen = (want: WantedTopic, is: FoundTopic) =>
  topicDrift(want, is, rate).map(({ setting, severity, change }) => [setting, severity, change?.value])

describe('The drift of a topic', () => {
  it('is empty for a topic as wanted, and where nothing is wanted', () => {
    expect(topicDrift(wanted(), found(), rate)).toEqual([])
    const nothing = { partitions: undefined, replication: undefined, minInsyncReplicas: undefined, replayWindowMs: undefined }
    expect(topicDrift(nothing, found({ retentionMs: 1, retentionBytes: 1 }), rate)).toEqual([])
  })

  it.each([
    ['compaction, wanted or not', wanted(), found({ cleanupPolicy: 'compact,delete' }), [['cleanupPolicy', 'error', 'delete']]],
    ['too few partitions', wanted({ partitions: 8 }), found(), [['partitions', 'error', 8]]],
    ['more partitions, which cannot be taken away', wanted({ partitions: 2 }), found(), [['partitions', 'warn', undefined]]],
    [
      'too few replicas, which nothing here mends',
      wanted({ minInsyncReplicas: undefined }),
      found({ replication: 2 }),
      [['replication', 'error', undefined]],
    ],
    ['another min ISR', wanted({ minInsyncReplicas: 1 }), found(), [['minInsyncReplicas', 'error', 1]]],
    ['a min ISR above the replicas', wanted({ replication: 1 }), found({ replication: 1 }), [['minInsyncReplicas', 'error', undefined]]],
    ['a retention below the replay window', wanted(), found({ retentionMs: hour }), [['retentionMs', 'error', 30 * hour]]],
    [
      'a retention by size below the window at the measured rate',
      wanted({ replayWindowMs: hour }),
      found({ retentionBytes: 1_000_000_000 }),
      [['retentionBytes', 'error', 5_400_000_000]],
    ],
    [
      'a retention by count below the window at the measured rate',
      wanted({ replayWindowMs: hour }),
      found({ retentionEvents: 1_000_000 }),
      [['retentionEvents', 'error', 27_000_000]],
    ],
  ])('names %s', (_, want, is, expected) => {
    expect(seen(want, is)).toEqual(expected)
  })

  it('judges no limit by size without a measured rate, and every drift says how it is mended', () => {
    const limited = found({ retentionBytes: 1, partitions: 9, replication: 1 })
    const drifts = topicDrift(wanted(), limited, undefined)
    expect(drifts.map(({ setting }) => setting)).not.toContain('retentionBytes')
    expect(drifts.every(({ change, mend }) => change !== null || mend !== null)).toBe(true)
  })
})
