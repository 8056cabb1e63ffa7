/** Answers why an offset is not committed, from the facts of one moment. Pure. */
import type { Verdict } from '../status/verdict.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { Explanation } from './explanation.ts'
import type { ExplainFacts } from './facts.ts'
import { awayOf, foundOf } from './facts.ts'
import type { Situation } from './situation.ts'
import { situationOf } from './situation.ts'
import { unlessStalled } from './trouble-verdicts.ts'
import { judge } from './verdicts.ts'

export function explain(facts: ExplainFacts): Explanation {
  const situation = situationOf(facts)
  const { offset, event, floor, task, queue, segment, owner, reader, taskStatus } = situation
  const range = foundOf(facts.range)
  const verdict = unlessStalled(situation, judge(situation))
  return {
    ...verdict,
    topic: facts.topic,
    partition: facts.partition,
    offset: offset === undefined ? null : String(offset),
    isCommitted:
      floor !== undefined && (offset === undefined || offset <= floor || (verdict.cause === 'committed' && facts.asked === null)),
    floor: floor === undefined ? null : String(floor),
    log: range === undefined ? null : { startOffset: String(range.startOffset), endOffset: String(range.endOffset) },
    lagEvents: range === undefined || floor === undefined ? null : Math.max(0, Number(range.endOffset - nextOffsetAfter(floor))),
    key: event?.key ?? null,
    task: task ?? null,
    queue: queue === undefined ? null : `${facts.partition}/${queue}`,
    segment:
      segment === undefined
        ? null
        : { lo: String(segment.lo), hi: String(segment.hi), sequence: String(segment.sequence), owner: segment.owner },
    job: event === undefined || task === undefined ? null : { offset: String(event.offset), ordinal: 0 },
    ageMs: event === undefined ? null : Math.max(0, facts.nowMs - event.timestampMs),
    owner: owner?.node ?? null,
    reader: reader?.node ?? null,
    attempts: taskStatus?.attempts ?? null,
    lastError: taskStatus?.lastError ?? null,
    nextTryMs: taskStatus?.nextTryMs ?? null,
    deadLetters: facts.letters
      .filter((letter) => letter.offset === offset)
      .map(({ id, task: of, error, resolution }) => ({ id, task: of, error, resolution })),
    notes: notesOf(situation, verdict),
    unseen: unseenOf(facts),
  }
}

function notesOf({ facts, silent, ledger, event, waiting }: Situation, verdict: Verdict): string[] {
  const told = textOf(verdict)
  const away = silent.flatMap(({ id, url, isSuspended, silence, pid, isBeating }) => {
    const name = id ?? `the node at ${url}`
    if (told.includes(name)) return []
    if (isSuspended === true) return [`${name} is suspended (process ${pid}); others have its partitions and queues`]
    if (silence === 'silent') return [`${name} accepts connections and says nothing`]
    if (silence === 'locked') return [`${name} wants another token than node.tokenFile of this configuration holds`]
    return isBeating === true ? [`${name} lives, but its status is not reachable from here`] : [`${name} does not answer`]
  })
  const epoch = ledger?.epoch?.epoch
  const strangers = facts.nodes.flatMap(({ status }) =>
    status !== null && epoch !== undefined && status.epoch !== epoch
      ? [`${status.node} is at epoch ${status.epoch ?? '-'}, the active one is ${epoch}`]
      : [],
  )
  const waits = (ledger?.present ?? []).flatMap(({ node, waitsFor }) =>
    waitsFor === null || told.includes(node) ? [] : [`${node} waits: ${waitsFor}`],
  )
  const dead = event?.jobs.filter(({ error }) => error !== null) ?? []
  return [
    ...(waiting.length > 1 ? [`tasks that wait for this offset: ${waiting.join(', ')}`] : []),
    ...dead.map(({ task, error }) => `it becomes a dead letter, carried by task ${task}: ${error}`),
    ...away,
    ...(told.includes('no node works in the active epoch') ? [] : strangers),
    ...waits,
    ...facts.differences.map((difference) => `this configuration is not that of the active epoch: ${difference}`),
  ]
}

function textOf(verdict: Verdict): string {
  return `${verdict.sentence} ${verdict.because === undefined ? '' : textOf(verdict.because)}`
}

function unseenOf({ ledger, range, pending, grid }: ExplainFacts): string[] {
  const looks = [
    ['the database', awayOf(ledger)],
    ['the event log', awayOf(range)],
    ['the events above the floor', 'found' in range ? awayOf(pending) : undefined],
    ['the grid', awayOf(grid)],
  ] as const
  return looks.flatMap(([what, why]) => (why === undefined ? [] : [`${what}: ${why}`]))
}
