/** Finds every node of a pipeline: by configuration, by the grid's map of members, and by what each node and the database know. */
import type { InspectedPipeline } from './facts.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobGrid } from '../grid/job-grid.ts'
import { scopeName } from '../grid/queue-name.ts'
import { membershipMap, nodeInfoOf } from '../node/membership.ts'
import type { LedgerFacts, NodeFacts, PartitionLedger } from './facts.ts'
import type { NodeAnswer } from './node-facts.ts'
import { askNodes, isLocal, isSuspended } from './node-facts.ts'

interface Entry {
  readonly text: string
  readonly http: string | null
  readonly pid: number
  readonly epoch: number | null
}

/** How many beats an entry is given to change. */
const beatsWatched = 3

/** All nodes that can be found, and the scope of the epoch they work in. Never throws for what does not answer. */
export async function gatherNodes(
  grid: Promise<JobGrid> | null,
  { pipeline, settings, pids }: InspectedPipeline,
  ledger: LedgerFacts | undefined,
  answers: readonly NodeAnswer[],
): Promise<{ nodes: NodeFacts[]; scope: string | undefined }> {
  const told = answers.find(({ status }) => status?.pipeline === pipeline.name && status.scope !== '')?.status?.scope
  const scope =
    ledger === undefined || ledger.epoch === null
      ? told
      : scopeName({
          deployment: ledger.deployment,
          pipeline: pipeline.name,
          topic: pipeline.source.topic,
          epoch: ledger.epoch.epoch,
          mark: ledger.epoch.mark,
        })
  const before = await entriesOf(grid, scope)
  const known = [...before.values()].flatMap(({ http }) => http ?? [])
  const mentioned = answers.flatMap(({ status }) => status?.members.flatMap(({ http }) => http ?? []) ?? [])
  const present = ledger?.present.flatMap(({ http }) => http ?? []) ?? []
  const asked = new Set(answers.map(({ url }) => url))
  const more = await askNodes(
    [...known, ...mentioned, ...present].filter((url) => !asked.has(url)),
    settings.node,
  )
  const all = [...answers, ...more]
  // Entries of nodes that answer need no second look.
  const isQuiet = [...before].some(([id]) => !all.some(({ status }) => status?.node === id))
  if (isQuiet) await sleep(settings.grid.beatMs * beatsWatched)
  const after = isQuiet ? await entriesOf(grid, scope) : before
  return { nodes: joined(all, before, after, isQuiet, pids), scope }
}

function joined(
  answers: readonly NodeAnswer[],
  before: ReadonlyMap<string, Entry>,
  after: ReadonlyMap<string, Entry>,
  isQuiet: boolean,
  pids: ReadonlyMap<string, number>,
): NodeFacts[] {
  const nodes = answers.map(({ url, status, silence }): NodeFacts => {
    const [id, entry] = [...after].find(([name, { http }]) => (status === null ? http === url : name === status.node)) ?? []
    const pid = status?.pid ?? entry?.pid ?? pids.get(url) ?? null
    return {
      id: status?.node ?? id ?? null,
      url,
      pid,
      status,
      silence,
      isSuspended: status !== null ? false : suspension(url, pid),
      isBeating: status !== null && !isQuiet ? true : beating(id, before, after),
      epoch: status?.epoch ?? entry?.epoch ?? null,
    }
  })
  const missing = [...after].filter(([id]) => !nodes.some((node) => node.id === id))
  for (const [id, { http, pid, epoch }] of missing) {
    const isBeating = beating(id, before, after)
    nodes.push({
      id,
      url: http,
      pid,
      status: null,
      silence: null,
      isSuspended: http === null ? null : suspension(http, pid),
      isBeating,
      epoch,
    })
  }
  return nodes
}

function suspension(url: string, pid: number | null): boolean | null {
  return pid === null || !isLocal(url) ? null : isSuspended(pid)
}

function beating(id: string | undefined, before: ReadonlyMap<string, Entry>, after: ReadonlyMap<string, Entry>): boolean | null {
  if (id === undefined) return null
  const [was, is] = [before.get(id), after.get(id)]
  return was === undefined || is === undefined ? null : was.text !== is.text
}

async function entriesOf(grid: Promise<JobGrid> | null, scope: string | undefined): Promise<ReadonlyMap<string, Entry>> {
  if (grid === null || scope === undefined) return new Map()
  try {
    const texts = await (await grid).entries(membershipMap(scope))
    return new Map(
      [...texts].flatMap(([id, text]) => {
        const info = nodeInfoOf(text)
        return info === undefined ? [] : [[id, { text, http: info.http, pid: info.pid, epoch: info.epoch }] as const]
      }),
    )
  } catch {
    // The grid is away; whoever looks at its rings says so.
    return new Map()
  }
}

/** The watermarks as the nodes remember them, for when the database is away; undefined when no node owns the partition. */
export function watermarksOfNodes(
  nodes: readonly NodeFacts[],
  partition: number,
  { tasks, queues }: Fingerprint,
): PartitionLedger | undefined {
  const floors = nodes.flatMap(({ status }) => status?.partitions.filter((row) => row.partition === partition && row.floor !== '-1') ?? [])
  const floor = floors
    .map((row) => BigInt(row.floor))
    .reduce<bigint | undefined>((top, next) => (top === undefined || next > top ? next : top), undefined)
  if (floor === undefined) return undefined
  const rows = new Map(tasks.map((task) => [task, new Array<bigint>(queues).fill(floor)]))
  for (const { status } of nodes) {
    for (const { partition: at, queue, applied } of status?.queues ?? []) {
      if (at !== partition || queue >= queues) continue
      for (const [task, watermark] of Object.entries(applied)) {
        const watermarks = rows.get(task)
        if (watermarks !== undefined) watermarks[queue] = BigInt(watermark)
      }
    }
  }
  return { floor, rows }
}
