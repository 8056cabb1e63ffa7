/** Judges why a job that its reader holds is not applied: the task, its sink, the database under it. Pure. */
import type { Verdict } from '../status/verdict.ts'
import type { NodeStatus, TaskStatus } from '../status/status.ts'
import { own } from '../own.ts'
import type { SessionFacts } from './facts.ts'
import type { Situation } from './situation.ts'
import { spanText } from '../text/time-text.ts'

/** A flush that lasts longer is named. */
const slowFlushMs = 1000
/** SQLSTATEs. */
const undefinedTable = '42P01'
const noRight = '42501'
const lockTimeout = '55P03'
const commandMark = 'forebay command'

export function taskVerdict(situation: Situation): Verdict {
  const { task, taskStatus, reader } = situation
  if (task === undefined || taskStatus === undefined || reader === undefined) {
    return {
      cause: 'unknown',
      sentence: 'the reader of the queue does not tell of the task',
      next: 'ask again in a few seconds',
      mend: 'forebay status shows what every node says',
    }
  }
  return (
    refused(taskStatus, reader) ??
    lockedVerdict(situation) ??
    slow(situation, taskStatus, reader) ??
    failing(taskStatus, reader) ?? {
      cause: 'in-flight',
      sentence: `${reader.node} holds it for the next flush of task ${task}`,
      next: `task ${task} flushes every ${spanText(taskStatus.everyMs)} at the latest`,
      mend: null,
    }
  )
}

function refused(
  { task, blockedReason, attempts, failingSinceMs, lastErrorState }: TaskStatus,
  { node, nowMs }: NodeStatus,
): Verdict | undefined {
  if (blockedReason === null) return undefined
  const isMissing = lastErrorState === undefinedTable
  const since = failingSinceMs === null ? '' : ` for ${spanText(nowMs - failingSinceMs)}, ${attempts} attempts`
  return {
    cause: isMissing ? 'missing-table' : 'task-refused',
    sentence: `the database refuses task ${task} as a whole at ${node}${since}: ${blockedReason}`,
    next: 'the task tries again every second and goes on by itself once mended; meanwhile its queues fill, and nothing is dead-lettered',
    mend: isMissing
      ? `create the table, or rename it back; if rows were lost with it: forebay replay --from earliest --task ${task} --verify tells which, --repair writes them`
      : lastErrorState === noRight
        ? 'grant the rights the sentence names'
        : 'mend what the sentence names',
  }
}

/** Somebody's open transaction holds what forebay waits for. `query`: only statements of this kind. */
export function lockedVerdict({ ledger, reader, owner, facts, taskStatus }: Situation, query?: RegExp): Verdict | undefined {
  if (ledger === undefined) return undefined
  const sessions = new Map(ledger.sessions.map((session) => [session.pid, session]))
  const waiting = ledger.sessions.filter(
    (session) =>
      session.blockedBy.length > 0 && session.application.startsWith('forebay ') && (query === undefined || query.test(session.query)),
  )
  const ofNode = (node: NodeStatus | undefined) => waiting.find(({ application }) => application === applicationOf(node))
  const session = ofNode(query === undefined ? reader : owner) ?? waiting[0]
  if (session === undefined) return timedOut(taskStatus, reader)
  const holder = rootBlocker(session, sessions)
  // Two nodes that flush the same queue for a moment pass by themselves.
  if (holder?.application.startsWith('forebay ') && holder.state === 'active' && (holder.statementMs ?? 0) < slowFlushMs) return undefined
  const suspended = facts.nodes.find(({ id, isSuspended }) => isSuspended === true && holder?.application === applicationNamed(id))
  return {
    cause: 'row-locked',
    sentence: `${session.application} has waited ${spanText(session.statementMs ?? 0)} for a lock (${session.waitsFor ?? 'Lock'}) that ${holder === undefined ? 'another transaction' : holderText(holder)} holds`,
    next: 'the wait ends with database.lockTimeout, then the flush is tried again; nothing is written meanwhile, and nothing lost',
    mend:
      suspended !== undefined
        ? `${suspended.id} is suspended in the middle of its transaction: kill -CONT ${suspended.pid}, or select pg_terminate_backend(${holder?.pid})`
        : holder === undefined
          ? 'select * from pg_locks where not granted shows who waits'
          : `end that transaction (commit or roll it back), or select pg_terminate_backend(${holder.pid})`,
  }
}

/** Nobody waits at this moment, but the last attempt ended with the wait for a lock. */
function timedOut(taskStatus: TaskStatus | undefined, reader: NodeStatus | undefined): Verdict | undefined {
  if (taskStatus === undefined || taskStatus.lastErrorState !== lockTimeout) return undefined
  return {
    cause: 'row-locked',
    sentence: `task ${taskStatus.task} of ${reader?.node} waits for a lock in vain, ${taskStatus.attempts} times so far: ${taskStatus.lastError}`,
    next: 'it is tried again within 2 seconds',
    mend: "find the transaction that holds the lock: select pid, state, query from pg_stat_activity where state like 'idle in%'",
  }
}

function rootBlocker(session: SessionFacts, sessions: ReadonlyMap<number, SessionFacts>): SessionFacts | undefined {
  let holder: SessionFacts | undefined
  const seen = new Set([session.pid])
  for (let pid = session.blockedBy[0]; pid !== undefined && !seen.has(pid); pid = holder?.blockedBy[0]) {
    seen.add(pid)
    holder = sessions.get(pid)
  }
  return holder
}

function holderText({ pid, application, user, client, state, transactionMs, query }: SessionFacts): string {
  const who = [application === '' ? undefined : `"${application}"`, `user ${user}`, client === null ? undefined : `from ${client}`]
  const age = transactionMs === null ? '' : `, open for ${spanText(transactionMs)}`
  return `process ${pid} (${who.filter((part) => part !== undefined).join(', ')}; ${state}${age}; last statement: ${query.slice(0, 120)})`
}

function slow({ ledger, readQueue, task, reader: of }: Situation, status: TaskStatus, reader: NodeStatus): Verdict | undefined {
  const { flushingSinceMs, flushP99Ms, everyMs, attempts } = status
  const lastsMs = flushingSinceMs === null ? 0 : reader.nowMs - flushingSinceMs
  const inbox = readQueue && own(readQueue.inboxes, status.task)
  const isOftenSlow = attempts === 0 && (flushP99Ms ?? 0) >= slowFlushMs && (inbox?.jobs ?? 0) > 0
  if (lastsMs < slowFlushMs && !isOftenSlow) return undefined
  const statement = ledger?.sessions
    .filter(({ application, state }) => application === applicationOf(of) && state === 'active')
    .toSorted((a, b) => (b.statementMs ?? 0) - (a.statementMs ?? 0))[0]
  const what =
    statement === undefined
      ? 'no statement of it runs in the database now, so the sink or handler itself takes the time'
      : `the database works on \`${statement.query.slice(0, 100)}\`${statement.waitsFor === null ? '' : ` (waits for ${statement.waitsFor})`} for ${spanText(statement.statementMs ?? 0)}`
  const lasts =
    lastsMs >= slowFlushMs
      ? `a flush of task ${task} at ${reader.node} has been under way for ${spanText(lastsMs)}`
      : `flushes of task ${task} at ${reader.node} take ${spanText(flushP99Ms ?? 0)} at p99, against a cadence of ${spanText(everyMs)}`
  return {
    cause: 'slow-sink',
    sentence: `${lasts}: ${what}`,
    next: 'a statement ends at the latest with database.statementTimeout and is tried again; jobs behind it wait, then their queue is full and reading stops',
    mend: 'make the sink faster: triggers, indexes, locks or the disk under the table; or let the task flush fewer rows at once',
  }
}

function failing({ task, attempts, lastError, failingSinceMs, nextTryMs }: TaskStatus, { node, nowMs }: NodeStatus): Verdict | undefined {
  if (attempts === 0 || lastError === null) return undefined
  const since = failingSinceMs === null ? '' : ` for ${spanText(nowMs - failingSinceMs)}`
  return {
    cause: 'task-failing',
    sentence: `the flushes of task ${task} at ${node} fail${since}, ${attempts} so far: ${lastError}`,
    next: nextTryMs === null ? 'an attempt is under way' : `the next attempt comes within ${spanText(Math.max(0, nextTryMs - nowMs))}`,
    mend: 'do what the sentence says',
  }
}

/** How the connections of a node call themselves: without the life that its id ends with. */
function applicationOf(node: NodeStatus | undefined): string | undefined {
  return applicationNamed(node?.node ?? null)
}

function applicationNamed(id: string | null): string | undefined {
  if (id === null) return undefined
  const name = `forebay ${id.slice(0, id.lastIndexOf('.'))}`
  return name === commandMark ? undefined : name
}
