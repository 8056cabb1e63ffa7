/** Checks the members of the grid one by one, and a ring of it against what the configuration counts on. */
import { connect } from 'node:net'
import { sentenceOf } from '../errors.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { ringName } from '../grid/queue-name.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { Finding } from './finding.ts'
import { fail, ok, warn } from './finding.ts'

/** What a member's health check told; null: it does not answer. */
export interface MemberHealth {
  readonly member: string
  readonly isListening: boolean
  readonly clusterSize: number | null
  readonly isSafe: boolean | null
}

const answerMs = 2000
const defaultScope = 'doctor'

export function askMembers(members: readonly string[]): Promise<MemberHealth[]> {
  return Promise.all(members.map(askMember))
}

async function askMember(member: string): Promise<MemberHealth> {
  const isListening = await listens(member)
  if (!isListening) return { member, isListening, clusterSize: null, isSafe: null }
  try {
    const response = await fetch(`http://${member}/hazelcast/health`, { signal: AbortSignal.timeout(answerMs) })
    const { clusterSize, clusterSafe } = (await response.json()) as { clusterSize?: number; clusterSafe?: boolean }
    return { member, isListening, clusterSize: clusterSize ?? null, isSafe: clusterSafe ?? null }
  } catch {
    return { member, isListening, clusterSize: null, isSafe: null }
  }
}

/** Pure. */
export function judgeMembers(health: readonly MemberHealth[]): Finding[] {
  const findings = health.map(({ member, isListening, clusterSize, isSafe }) => {
    if (!isListening)
      return warn(
        'grid',
        `no member listens at ${member}`,
        'the others carry its share, with fewer copies',
        'start it, or take it out of grid.members',
      )
    if (clusterSize === null)
      return warn(
        'grid',
        `the member at ${member} does not answer its health check`,
        'it may hang; the others drop it after 15 seconds',
        'look at its log; restart it',
      )
    if (clusterSize !== health.length)
      return warn(
        'grid',
        `the member at ${member} is in a cluster of ${clusterSize}, and ${health.length} are configured`,
        'members that do not see each other keep rings of their own; what one side loses is made again',
        'start the missing ones; check grid.clusterName and the network between them',
      )
    if (isSafe === false)
      return warn(
        'grid',
        `the member at ${member} says that copies are missing at the moment`,
        'the loss of a member now loses entries, which are made again',
        'wait until its migrations are done',
      )
    return ok('grid', `the member at ${member} answers, in a cluster of ${clusterSize}`)
  })
  const isAllAway = health.length > 0 && health.every(({ isListening }) => !isListening)
  return isAllAway
    ? [
        fail(
          'grid',
          `no member of the grid answers (${health.map(({ member }) => member).join(', ')})`,
          'nothing new is processed; nothing is lost',
          'start the members, or mend grid.members',
        ),
      ]
    : findings
}

/** The settings of the running members that forebay relies on. */
export async function checkRings(
  grid: JobGrid,
  { grid: { capacity } }: Pick<NodeSettings, 'grid'>,
  scope: string | undefined,
): Promise<Finding[]> {
  try {
    const found = await grid.capacity(ringName(scope ?? defaultScope, { partition: 0, queue: 0 }))
    const what = `rings hold ${found} entries, grid.capacity is ${capacity}`
    return [
      found === capacity
        ? ok('grid', what)
        : found > capacity
          ? warn(
              'grid',
              what,
              'the memory that was computed is less than what full rings take',
              'start the members with forebay.capacity as in grid.capacity',
            )
          : fail(
              'grid',
              what,
              'start refuses: a window would not fit',
              'start the members with config/hazelcast.yaml and the capacity of grid.capacity',
            ),
    ]
  } catch (error) {
    return [fail('grid', sentenceOf(error), 'nothing new is processed; nothing is lost', 'start the members, or mend the way to them')]
  }
}

function listens(member: string): Promise<boolean> {
  const colon = member.lastIndexOf(':')
  return new Promise((resolve) => {
    const socket = connect({ host: member.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(member.slice(colon + 1)) })
    const settle = (isUp: boolean) => (socket.destroy(), resolve(isUp))
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
    socket.setTimeout(answerMs, () => settle(false))
  })
}
