/**
 * When another set of tasks may open an epoch (rule 19), and what people are told of it.
 *
 * A durable task is left out only where an operator said so. Nodes of one version and other tasks do not close each other's epochs:
 * the second waits until nobody runs in the active one.
 */
import type { Opening } from './opening.ts'
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import { readViews, tasksOf } from './epoch-store.ts'
import type { Known } from './epoch-store.ts'
import type { PartitionView } from '../ledger/ledger.ts'
import { freshNodes } from './presence.ts'
import { behindOf, isSameTasks, namesOf, taskChangeOf, taskDifferences } from './task-set.ts'

/** Throws FB_TASKS where the node has to wait for an operator's word or for the end of others. */
export async function checkTasks(client: pg.ClientBase, opening: Opening, { active, permissions }: Known): Promise<void> {
  const { pipeline, fingerprint, isJoinOnly } = opening
  if (active === undefined || isSameTasks(active.fingerprint, fingerprint)) return
  const refuse = (what: string): never => {
    const tasks = [...new Set([...active.fingerprint.tasks, ...(active.fingerprint.ephemeral ?? [])])]
    throw new ForebayError(
      'FB_TASKS',
      `Epoch ${active.epoch} of pipeline "${pipeline}" runs ${namesOf(tasks)}; this node ${taskDifferences(active.fingerprint, fingerprint)}. ${what}`,
    )
  }
  if (isJoinOnly === true) refuse('Its own epoch was closed, so it owns nothing and waits; start it again with the tasks of the epoch.')
  const { left, added } = taskChangeOf(active.fingerprint, fingerprint)
  const unsaid = left.filter((task) => !permissions.some(({ kind, subject }) => kind === 'leave' && subject === task))
  if (unsaid.length > 0) {
    const renamed = added.length > 0 ? ` A renamed task is another one to the ledger: the new name begins at the floors.` : ''
    refuse(
      `Without ${namesOf(unsaid)} the floors pass events that are not in ${unsaid.length === 1 ? 'its table' : 'their tables'}, so it owns nothing and waits: say \`forebay tasks drop ${unsaid.join(' ')}\` to leave ${unsaid.length === 1 ? 'it' : 'them'} out, or start it with all tasks of the epoch.${renamed}`,
    )
  }
  if (left.length > 0 || active.version !== fingerprint.version) return
  const running = (await freshNodes(client, pipeline)).filter(({ epoch }) => epoch === active.epoch).map(({ node }) => node)
  if (running.length > 0)
    refuse(`It owns nothing and waits until ${running.join(', ')} stopped: start all nodes with the same tasks, one after the other.`)
}

/** Throws FB_TASKS when the log lost what a task that comes back has not seen. Outside of any transaction. */
export async function checkBack(client: pg.ClientBase, opening: Opening, { active, earlier }: Known): Promise<void> {
  if (active === undefined) return
  const { pipeline, fingerprint } = opening
  const views = await readViews(client, pipeline)
  const places = backOf(active.fingerprint, fingerprint, views).flatMap((task) =>
    behindOf(views, task).map((behind) => ({ task, ...behind })),
  )
  if (places.length === 0) return
  const earliest = await opening.earliestFloors()
  const lost = places.find(({ partition, place }) => place < (earliest.get(partition) ?? -1n))
  if (lost === undefined) return
  const { task, partition, place } = lost
  const last = earlier.find(({ fingerprint: { tasks } }) => tasks.includes(task))
  throw new ForebayError(
    'FB_TASKS',
    `Task ${task} of pipeline "${pipeline}" ${last === undefined ? 'is' : `was last part of epoch ${last.epoch} and is`} at offset ${place} of partition ${partition}, and the log begins behind offset ${earliest.get(partition)}: ${(earliest.get(partition) ?? -1n) - place} offsets are lost to it. Start without it, or give them up, so that it goes on at the floors: \`forebay tasks skip ${task}\`.`,
  )
}

/** What the epoch leaves out. */
export function leftText({ fingerprint }: Opening, { active, permissions }: Known): string[] {
  if (active === undefined) return []
  return taskChangeOf(active.fingerprint, fingerprint).left.map((task) => {
    const by = permissions.find(({ kind, subject }) => kind === 'leave' && subject === task)?.givenBy ?? 'nobody'
    return `Epoch ${active.epoch + 1} leaves out task ${task}, as ${by} allowed: it keeps its place, and goes on from there when it comes back while the log has its events.`
  })
}

/** What comes back, and what begins although it was there before: an older forebay forgot places at a change of routing. */
export function backText({ fingerprint }: Opening, { active, earlier }: Known, views: readonly PartitionView[]): string[] {
  if (active === undefined) return []
  const back = backOf(active.fingerprint, fingerprint, views)
  const texts = back.map((task) => {
    const behind = behindOf(views, task)
    const places = behind.map(({ partition, place, floor }) => `partition ${partition} from ${floor} to ${place}`)
    return places.length === 0
      ? `Task ${task} comes back and goes on where it stood: no floor has passed it.`
      : `Task ${task} comes back and goes on where it stood, so floors go back: ${places.join(', ')}. Nothing is applied twice; the other tasks wait until these events are read again.`
  })
  const begun = taskChangeOf(active.fingerprint, fingerprint).added.filter((task) => !back.includes(task))
  const forgotten = begun.flatMap((task) => {
    const last = earlier.find(({ fingerprint: { tasks } }) => tasks.includes(task))
    return last === undefined
      ? []
      : [
          `Task ${task} begins at the floors: it was part of epoch ${last.epoch}, and the ledger has no place of it any more, so events in between are not in its table.`,
        ]
  })
  return [...texts, ...forgotten]
}

function backOf(was: Opening['fingerprint'], is: Opening['fingerprint'], views: readonly PartitionView[]): string[] {
  const withRows = tasksOf(views)
  return taskChangeOf(was, is).added.filter((task) => withRows.includes(task))
}
