/**
 * Judges why an offset is not committed: what stops a whole pipeline or partition first, then what stops the one queue and task.
 * Pure. The first verdict that holds is the culprit.
 */
import type { Verdict } from '../status/verdict.ts'
import { awayOf, foundOf } from './facts.ts'
import type { NodeFacts } from './facts.ts'
import type { Situation } from './situation.ts'
import { blockingSituation, queueSituation } from './situation.ts'
import { lockedVerdict, taskVerdict } from './task-verdicts.ts'
import { spanText } from '../text/time-text.ts'
import { slowConvert, toldTrouble } from './trouble-verdicts.ts'

type Judge = (situation: Situation) => Verdict | undefined

/** Everything at or below the floor is settled; the rest of the list is about what is above it. */
const judges: readonly Judge[] = [
  committed,
  noSuchEvent,
  databaseAway,
  neverStarted,
  retentionPassed,
  wrongEpoch,
  draining,
  nobodyWorks,
  halted,
  partitionWithoutOwner,
  behindAnother,
  notYetRead,
  notYetSent,
  notYetReceived,
  (situation) => taskVerdict(situation),
]

/** A node that committed something this recently reaches the database, whatever this machine does. */
const committingMs = 3000
/** Of the time of a node. */
const slowConvertShare = 0.5

/** The verdict about what `situation` is about. Total: what nothing explains is `unknown`. */
export function judge(situation: Situation): Verdict {
  for (const judgeOne of judges) {
    const verdict = judgeOne(situation)
    if (verdict !== undefined) return verdict
  }
  return {
    cause: 'unknown',
    sentence: 'what was seen does not tell why it is not committed',
    next: 'ask again in a few seconds: one look is one moment',
    mend: 'forebay status and forebay doctor tell more',
  }
}

function committed({ facts, offset, floor, event, waiting }: Situation): Verdict | undefined {
  if (offset === undefined) return undefined
  const letters = facts.letters.filter((letter) => letter.offset === offset)
  const [letter] = letters
  const isBelow = floor !== undefined && offset <= floor
  if (letter !== undefined && (isBelow || (event !== undefined && waiting.length === 0))) {
    const what = letter.task === null ? 'the whole event' : `its job of task ${letter.task}`
    const settled = letter.resolution === null ? '' : `, ${letter.resolution} since`
    return {
      cause: 'dead-lettered',
      sentence: `it is settled, but not in the table: ${what} is dead letter ${letter.id} in forebay.dead_letters${settled}: ${letter.error}`,
      next: letter.resolution === null ? 'nothing by itself: it waits there until somebody decides; the rest goes on' : 'nothing',
      mend:
        letter.resolution === null
          ? `forebay dead-letters show ${letter.id}; after mending the cause forebay dead-letters redrive, or discard it`
          : null,
    }
  }
  if (!isBelow) return undefined
  return { cause: 'committed', sentence: `it is committed: the floor of the partition is ${floor}`, next: 'nothing', mend: null }
}

function noSuchEvent({ facts, offset, floor }: Situation): Verdict | undefined {
  const range = foundOf(facts.range)
  if (range === undefined || floor === undefined || offset === undefined || offset < range.endOffset) return undefined
  if (range.endOffset <= floor) return undefined
  if (facts.asked !== null)
    return {
      cause: 'no-such-event',
      sentence: `the log has no offset ${offset} yet: its next event gets ${range.endOffset}`,
      next: 'it is processed once it is published',
      mend: null,
    }
  return {
    cause: 'committed',
    sentence: `everything is committed: the floor ${floor} is the end of the log`,
    next: 'the next event is processed when it is published',
    mend: null,
  }
}

function databaseAway({ facts, working }: Situation): Verdict | undefined {
  const away = awayOf(facts.ledger)
  const isCommitting = working.some(({ lastRowAtMs, nowMs }) => lastRowAtMs !== null && nowMs - lastRowAtMs < committingMs)
  const troubled = working.find(({ servers }) => servers.database !== null)
  const trouble = troubled?.servers.database ?? undefined
  if ((away === undefined && trouble === undefined) || isCommitting) return undefined
  const sinceMs = trouble?.sinceMs ?? null
  const since = sinceMs === null || troubled === undefined ? '' : ` for ${spanText(troubled.nowMs - sinceMs)}`
  const where =
    away === undefined ? `${troubled?.node} does not reach the database, which does answer here` : 'the database does not answer'
  return {
    cause: 'database-away',
    sentence: `${where}${since}: ${trouble?.sentence ?? away}`,
    next: 'nodes try again at least every 2 seconds; what they hold waits, then reading stops and the event log keeps the rest. Nothing is lost',
    mend: 'start the database, or mend the way to it; then nothing more is to be done',
  }
}

function neverStarted({ facts, ledger }: Situation): Verdict | undefined {
  if (ledger === undefined || (ledger.epoch !== null && ledger.partitions.has(facts.partition))) return undefined
  return {
    cause: 'never-started',
    sentence:
      ledger.epoch === null
        ? `pipeline ${facts.pipeline} has never been started on this database: it has no ledger there`
        : `the ledger of pipeline ${facts.pipeline} has no partition ${facts.partition}: it has ${ledger.partitions.size}, counted from 0`,
    next:
      ledger.epoch === null
        ? 'the first start makes it'
        : 'a partition that was added to the topic is taken in at the next start of a node',
    mend: 'forebay start -c FILE',
  }
}

function retentionPassed({ facts, floor, partition }: Situation): Verdict | undefined {
  const range = foundOf(facts.range)
  const reason = partition?.haltedReason ?? undefined
  if (range !== undefined && floor !== undefined && floor + 1n < range.startOffset)
    return {
      cause: 'retention-passed',
      sentence: `the log no longer holds what was to be processed next: the floor is ${floor} and the log begins at ${range.startOffset}, so ${range.startOffset - floor - 1n} offsets are gone unprocessed; the partition is halted`,
      next: 'nothing by itself: forebay never skips events. The owner looks again every 5 seconds',
      mend: `raise the retention of the topic (forebay topics plan); to give the lost events up: stop the nodes, then forebay reset --partition ${facts.partition} --to earliest --skip-lost, which leaves the other partitions and the tables as they are`,
    }
  if (range !== undefined && floor !== undefined && floor + 1n > range.endOffset)
    return {
      cause: 'log-truncated',
      sentence: `the log ends at ${range.endOffset}, before the floor ${floor}: the topic was truncated or made anew${reason === undefined ? '' : `; ${reason}`}`,
      next: 'nothing by itself; the owner looks again every 5 seconds',
      mend: 'point forebay at the right topic and database; if the topic was made anew on purpose, give the pipeline another name, which begins a ledger of its own (a reset would mix old and new rows of equal offsets)',
    }
  return undefined
}

function wrongEpoch({ facts, ledger, working }: Situation): Verdict | undefined {
  if (ledger === undefined || ledger.epoch === null || working.length > 0) return undefined
  const { epoch, version } = ledger.epoch
  const waiting = ledger.present.find(({ waitsFor }) => waitsFor !== null)
  const [stranger] = facts.nodes.flatMap(({ status }) => (status !== null && status.epoch !== epoch ? [status] : []))
  if (waiting === undefined && stranger === undefined) return undefined
  const active = `epoch ${epoch} (version ${version}) is active`
  const reason = waiting?.waitsFor ?? (stranger?.epoch === null ? stranger.reasons[0] : undefined)
  return {
    cause: 'wrong-epoch',
    sentence:
      reason !== undefined
        ? `no node works in the active epoch: ${active}, and ${waiting?.node ?? stranger?.node} waits: ${reason}`
        : `no node works in the active epoch: ${active}, and ${stranger?.node} is at epoch ${stranger?.epoch ?? '-'} (version ${stranger?.version})`,
    next: 'a node that waits looks again every few seconds and owns nothing meanwhile',
    mend: 'start nodes with the configuration and version of the active epoch, or make this one active: forebay routing plan shows how',
  }
}

function draining({ ledger }: Situation): Verdict | undefined {
  const cut = ledger?.cut ?? undefined
  if (cut === undefined) return undefined
  return {
    cause: 'draining',
    sentence: `reading is stopped on request: ${cut.requestedBy} drains the pipeline for ${cut.purpose}`,
    next: 'reading goes on when that command ends; its request lapses 10 seconds after the command died',
    mend: null,
  }
}

function nobodyWorks(situation: Situation): Verdict | undefined {
  return situation.working.length > 0 ? undefined : absence(situation, 'no node of this pipeline answers')
}

function partitionWithoutOwner(situation: Situation): Verdict | undefined {
  return situation.owner === undefined ? absence(situation, `no node that answers owns partition ${situation.facts.partition}`) : undefined
}

/** The node that should be there and is not. */
function absence({ silent }: Situation, what: string): Verdict {
  const suspended = silent.find(({ isSuspended }) => isSuspended === true)
  if (suspended !== undefined)
    return {
      cause: 'node-suspended',
      sentence: `${what}: ${nameOf(suspended)} is suspended (process ${suspended.pid} is stopped)`,
      next: 'other nodes, if there are any, take over after grid.lease; once it goes on it works on, and what it had under way is fenced',
      mend: `kill -CONT ${suspended.pid} lets it go on; kill -KILL ${suspended.pid} ends it, and another start takes over from the watermarks`,
    }
  const mute = silent.find(({ silence }) => silence === 'silent')
  if (mute !== undefined)
    return {
      cause: 'node-silent',
      sentence: `${what}: ${nameOf(mute)} accepts connections and says nothing, so it is suspended or its event loop is blocked`,
      next: 'other nodes, if there are any, take over after grid.lease',
      mend: 'look at the process on its machine (state T: kill -CONT); else restart the node',
    }
  const names = silent.map(nameOf)
  return {
    cause: 'no-node',
    sentence: `${what}${names.length === 0 ? '' : `: nothing listens for ${names.join(', ')}`}`,
    next: 'nothing, until a node runs; it goes on from the watermarks',
    mend: 'start a node: forebay start -c FILE',
  }
}

function nameOf({ id, url }: NodeFacts): string {
  return id === null ? `the node at ${url}` : url === null ? id : `${id} at ${url}`
}

function halted({ partition, owner, facts }: Situation): Verdict | undefined {
  const reason = partition?.haltedReason ?? undefined
  if (reason === undefined || owner === undefined) return undefined
  // Where the log is away, or the grid, the owner tries again and says so in the same place.
  if (owner.servers.grid !== null || partition?.haltedCode === 'FB_GRID_UNREACHABLE')
    return gridLost(owner.servers.grid?.sentence ?? reason)
  if (partition?.haltedCode === 'FB_EVENT_LOG_UNREACHABLE') return eventLogAway(reason)
  return {
    cause: 'partition-halted',
    sentence: `partition ${facts.partition} stands still at ${owner.node}: ${reason}`,
    next: 'the owner tries again every 5 seconds',
    mend: 'do what the sentence says',
  }
}

function behindAnother(situation: Situation): Verdict | undefined {
  const { facts, offset, event, waiting, partition } = situation
  if (offset === undefined || (event !== undefined && waiting.length > 0)) return undefined
  const blocking = blockingSituation(facts)
  if (blocking?.offset !== undefined && blocking.offset < offset) {
    const why = event === undefined ? 'it' : event.jobs.length === 0 ? 'it makes no jobs and' : 'its own jobs are applied, but it'
    return {
      cause: 'held-behind',
      sentence: `${why} is counted as committed when everything before it is: offset ${blocking.offset} is not`,
      next: 'with that one the floor passes both',
      mend: null,
      because: judge(blocking),
    }
  }
  if (event === undefined && foundOf(facts.pending) === undefined) return undefined
  if (partition === undefined || BigInt(partition.position) < offset) return undefined
  return (
    lockedVerdict(situation, /forebay\.floors/) ??
    notSettling(situation) ?? {
      cause: 'floor-pending',
      sentence: `all its jobs are applied; the floor follows`,
      next: 'the owner raises the floor at least four times a second',
      mend: null,
    }
  )
}

/** The loop that raises floors waits for the database, or for the grid, which it asks in between. */
function notSettling({ owner, facts: { partition } }: Situation): Verdict | undefined {
  const settling = toldTrouble(owner, ['settle', 'watermarks'], (place) => place === `partition ${partition}`)
  if (settling !== undefined) return databaseSilent(`${owner?.node}: ${settling}`)
  const asking = toldTrouble(owner, ['flags', 'tail'], (place) => place.startsWith('flags') || place.startsWith(`p${partition}.`))
  return asking === undefined ? undefined : gridLost(`${owner?.node}: ${asking}`)
}

function notYetRead(situation: Situation): Verdict | undefined {
  const { offset, partition, owner, facts } = situation
  if (partition === undefined || owner === undefined || offset === undefined || offset <= BigInt(partition.position)) return undefined
  const full = partition.outboxes.find(({ windowSegments, windowSegmentsMax }) => windowSegments >= windowSegmentsMax)
  if (full !== undefined) return queueFull(situation, full.queue)
  if (owner.servers.grid !== null) return gridLost(owner.servers.grid.sentence)
  if (owner.servers.eventLog !== null) return eventLogAway(owner.servers.eventLog.sentence)
  const isHere = (place: string) => place === `partition ${facts.partition}`
  const starting = partition.position === '-1' ? toldTrouble(owner, ['watermarks'], isHere) : undefined
  if (starting !== undefined) return databaseSilent(`${owner.node}: ${starting}`)
  const reading = toldTrouble(owner, ['fetch', 'log-end'], isHere)
  if (reading !== undefined) return eventLogAway(`${owner.node}: ${reading}`)
  const fetching = toldTrouble(owner, ['schemas'], isHere)
  if (fetching !== undefined) return registryAway(`${owner.node}: ${fetching}`)
  if (foundOf(facts.range) === undefined) return eventLogAway(awayOf(facts.range) ?? 'the event log does not answer')
  const { share, sliceP99Ms } = owner.converting
  if (share >= slowConvertShare) return slowConvert(`${owner.node} reads partition ${facts.partition}, but`, share, sliceP99Ms)
  return {
    cause: 'catching-up',
    sentence: `${owner.node} has not read it yet: it is at offset ${partition.position}, ${offset - BigInt(partition.position)} before it`,
    next: 'it reads on; nothing is in its way',
    mend: null,
  }
}

function queueFull(situation: Situation, queue: number): Verdict {
  const { facts, partition, owner } = situation
  const { windowSegments, windowBytes } = partition!.outboxes.find((row) => row.queue === queue)!
  const blocking = blockingSituation(facts)
  const isSent = blocking?.offset !== undefined && blocking.outbox !== undefined && blocking.offset <= BigInt(blocking.outbox.sent)
  const of = blocking?.queue === queue && isSent ? blocking : queueSituation(facts, queue)
  return {
    cause: 'queue-full',
    sentence: `queue ${facts.partition}/${queue} is full (${windowSegments} segments, ${windowBytes} bytes wait for the database), so ${owner?.node} has stopped reading the partition at offset ${partition?.position}`,
    next: 'reading goes on when the oldest segments are applied; the event log keeps the rest',
    mend: null,
    // Windows are opened by whoever settles the floor.
    because: lockedVerdict(situation, /forebay\.floors/) ?? notYetReceived(of) ?? taskVerdict(of),
  }
}

function notYetSent(situation: Situation): Verdict | undefined {
  const { offset, outbox, owner } = situation
  if (outbox === undefined || owner === undefined || offset === undefined || offset <= BigInt(outbox.sent)) return undefined
  if (outbox.windowSegments >= outbox.windowSegmentsMax) return queueFull(situation, outbox.queue)
  if (owner.servers.grid !== null) return gridLost(owner.servers.grid.sentence)
  const appending = toldTrouble(owner, ['append'], (place) => place === placeOf(situation, outbox.queue))
  if (appending !== undefined) return gridLost(`${owner.node}: ${appending}`)
  return {
    cause: 'in-flight',
    sentence: `${owner.node} has read it and is about to send it to the grid`,
    next: 'its segment is sent when full, or after grid.linger',
    mend: null,
  }
}

function notYetReceived(situation: Situation): Verdict | undefined {
  const { offset, reader, readQueue, facts, queue, isFlagged, owner } = situation
  if (queue === undefined) return undefined
  if (reader === undefined) return absence(situation, `no node that answers reads queue ${facts.partition}/${queue}`)
  if (readQueue === undefined || offset === undefined || offset <= BigInt(readQueue.received)) return undefined
  const trouble = reader.servers.grid ?? owner?.servers.grid ?? undefined
  if (trouble !== undefined) return gridLost(trouble.sentence)
  const away = awayOf(facts.grid)
  if (away !== undefined) return gridLost(away)
  const reading = toldTrouble(reader, ['ring-read', 'flags'], (place) => place === placeOf(situation, queue) || place.startsWith('flags'))
  if (reading !== undefined) return gridLost(`${reader.node}: ${reading}`)
  const remembering = toldTrouble(reader, ['watermarks'], (place) => place === `partition ${facts.partition}`)
  if (remembering !== undefined) return databaseSilent(`${reader.node}: ${remembering}`)
  if (isFlagged || foundOf(facts.grid)?.rings.find((ring) => ring.queue === queue)?.holding === null)
    return {
      cause: 'repairing',
      sentence: `the grid has lost its segment${isFlagged ? ', and the reader has flagged the queue' : ''}`,
      next: 'the owner makes the lost jobs again from the event log, within a second or two',
      mend: null,
    }
  return {
    cause: 'in-flight',
    sentence: `its segment is in the grid; ${reader.node} is about to read it (it is at ${readQueue.received})`,
    next: 'it is read within milliseconds, unless the reader holds back because its inboxes are full',
    mend: null,
    ...(readQueue.pendingJobs > 0 ? { because: taskVerdict({ ...situation, ...oldestTask(situation) }) } : {}),
  }
}

/** The task of the queue that is furthest behind at the reader. */
function oldestTask({ readQueue, reader }: Situation): Pick<Situation, 'task' | 'taskStatus'> {
  const behind = Object.entries(readQueue?.applied ?? {}).toSorted(([, a], [, b]) => (BigInt(a) < BigInt(b) ? -1 : 1))
  const task = behind[0]?.[0]
  return { task, taskStatus: reader?.tasks.find((row) => row.task === task) }
}

/** As troubles name a queue. */
function placeOf({ facts }: Situation, queue: number): string {
  return `p${facts.partition}.q${queue}`
}

function databaseSilent(sentence: string): Verdict {
  return {
    cause: 'database-away',
    sentence,
    next: 'the call is given up with database.statementTimeout and tried again; nothing is lost',
    mend: 'look at what the database does (select * from pg_stat_activity), and at the way to it',
  }
}

function gridLost(sentence: string): Verdict {
  return {
    cause: 'grid-lost',
    sentence: `the grid does not answer: ${sentence}`,
    next: 'nodes try again at least every 2 seconds; what the grid forgets is made again from the event log. Nothing is lost',
    mend: 'start the Hazelcast members, or mend the way to them (grid.members)',
  }
}

function registryAway(sentence: string): Verdict {
  return {
    cause: 'registry-away',
    sentence: `the schemas of its events cannot be fetched: ${sentence}`,
    next: 'the owner tries again at least every 2 seconds and goes on where it was',
    mend: 'start the schema registry, or mend the way to it, or its login (registry in the decoder of the pipeline)',
  }
}

function eventLogAway(sentence: string): Verdict {
  return {
    cause: 'event-log-away',
    sentence: `the event log does not answer: ${sentence}`,
    next: 'the owner tries again at least every 2 seconds and goes on where it was',
    mend: 'start the brokers, or mend the way to them (events.brokers)',
  }
}
