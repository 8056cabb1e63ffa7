/**
 * Opening a pipeline's ledger: is this the same log as before (rule 13), and which epoch is it (rule 11)?
 *
 * A start reads first, without a lock, so that a node that joins disturbs nobody. Only a first start, a new version, added
 * partitions or another routing take the exclusive lock, look again, and write.
 *
 * Another version is opened at a drained cut if it can be had (`version-cut.ts`), and otherwise inherits every watermark, with a
 * warning where something is in flight. Another routing cannot, since its queues are not the old ones: it is opened at a cut
 * where nothing is applied beyond any floor (`undrained` is empty), and its watermarks begin at the floors (I8). Other tasks:
 * `task-set.ts`.
 */
import { isSame, differencesOf } from './task-set.ts'
import { beginExclusive } from './opening.ts'
import type { Opening, Epoch } from './opening.ts'
import pg from 'pg'
import { ForebayError } from '../errors.ts'
import { freshNodes } from './presence.ts'
import { dropRequest, isRequested, undrained, undrainedText } from './drain.ts'
import type { Undrained } from './drain.ts'
import { completeEpoch, insertEpoch, insertFloors, insertPipeline, readKnown, readViews, tasksOf, writeRows } from './epoch-store.ts'
import type { EpochRow, Known, PipelineRow } from './epoch-store.ts'
import type { PartitionView } from '../ledger/ledger.ts'
import { backText, checkBack, checkTasks, leftText } from './task-words.ts'
import { taskChangeOf, unevenTask } from './task-set.ts'

/** `join`: nothing is to be written. `complete`: only what an older forebay did not store. `cut`: the routing differs. */
type Verdict = 'join' | 'complete' | 'open' | 'cut'

/**
 * Joins the active epoch or opens one. Throws FB_IDENTITY; FB_FINGERPRINT for a version that was superseded; FB_ROUTING when the
 * routing differs and cannot be cut over now; FB_TASKS when the tasks do, and the node is to wait.
 */
export async function openEpoch(client: pg.ClientBase, opening: Opening): Promise<Epoch> {
  const seen = await readKnown(client, opening.pipeline)
  const verdict = verdictOf(seen, opening)
  if (verdict === 'join') return epochOf(seen.active, opening)
  await checkOpening(client, opening, seen, verdict)
  await checkBack(client, opening, seen)
  const floors = seen.pipeline === undefined ? await opening.startAt() : new Map<number, bigint>()
  await beginExclusive(client, opening.pipeline, opening.drainRequest !== undefined)
  const known = await readKnown(client, opening.pipeline)
  const { cutSentence, warnings } = await write(client, opening, known, floors)
  const after = await readKnown(client, opening.pipeline)
  await client.query('commit')
  const epoch = epochOf(after.active, opening)
  return { ...epoch, warnings: [...warnings, ...epoch.warnings], ...(cutSentence === undefined ? {} : { cutSentence }) }
}

/** What opening says beside the epoch. */
type Told = Pick<Epoch, 'cutSentence' | 'warnings'>

/** Throws what forbids to open now. Returns what is in flight where another version opens nevertheless. */
async function checkOpening(client: pg.ClientBase, opening: Opening, known: Known, verdict: Verdict): Promise<Undrained | undefined> {
  await checkTasks(client, opening, known)
  if (verdict === 'cut') await checkCut(client, opening, known.active!)
  if (!isConverterChange(known, opening)) return undefined
  const { pipeline, fingerprint, drainRequest } = opening
  if (drainRequest !== undefined) await checkRequested(client, pipeline, drainRequest)
  const [first] = await undrained(client, pipeline, [...known.active!.fingerprint.tasks, ...fingerprint.tasks])
  if (first === undefined || drainRequest === undefined) return first
  throw new ForebayError(
    'FB_ROUTING',
    `Epoch ${known.active!.epoch} of pipeline "${pipeline}" is not drained yet (${undrainedText(first)}).`,
  )
}

/** Throws what forbids `opening` whatever others do, or makes its node wait for a word. Outside of any transaction. */
export async function checkBefore(client: pg.ClientBase, opening: Opening, known: Known): Promise<void> {
  verdictOf(known, opening)
  await checkTasks(client, opening, known)
  await checkBack(client, opening, known)
}

/** Whether version or tasks differ from the active epoch while the routing is the same. */
export function isConverterChange({ active }: Pick<Known, 'active'>, { fingerprint }: Pick<Opening, 'fingerprint'>): boolean {
  if (active === undefined || differencesOf(active.fingerprint, fingerprint).length > 0) return false
  return !isSame(active.fingerprint, fingerprint)
}

/** Under the exclusive lock: looks again and writes what is missing. */
async function write(client: pg.ClientBase, opening: Opening, known: Known, floors: ReadonlyMap<number, bigint>): Promise<Told> {
  const verdict = verdictOf(known, opening)
  const { active } = known
  if (verdict === 'join') return { warnings: [] }
  if (verdict === 'complete') {
    await completeEpoch(client, opening, active!)
    return { warnings: [] }
  }
  const inFlight = await checkOpening(client, opening, known, verdict)
  if (known.pipeline === undefined) await insertPipeline(client, opening)
  await insertFloors(client, opening, floors)
  const views = await readViews(client, opening.pipeline)
  const isCut = verdict === 'cut'
  if (isCut) checkPlaces(opening, active!, views)
  if (active === undefined || !isSame(active.fingerprint, opening.fingerprint))
    await insertEpoch(client, opening, { active, reset: active?.reset ?? 0, isCut, begun: begunBy(opening, active, views) })
  if (isCut || opening.drainRequest !== undefined) await dropRequest(client, opening.pipeline)
  await writeRows(client, opening, { active, views, isCut })
  const warnings = [...leftText(opening, known), ...backText(opening, known, views)]
  if (isCut) return { cutSentence: cutSentenceOf(active!, opening), warnings }
  return { warnings: [...(inFlight === undefined ? [] : [inFlightSentence(active!, opening, inFlight)]), ...warnings] }
}

/** Tasks that have nothing in the ledger yet. */
function begunBy({ fingerprint }: Opening, active: EpochRow | undefined, views: readonly PartitionView[]): string[] {
  const withRows = tasksOf(views)
  return taskChangeOf(active?.fingerprint ?? { tasks: [] }, fingerprint).added.filter((task) => !withRows.includes(task))
}

/** Throws FB_TASKS where a task that is away stands at other places in other queues: no other routing could take them over. */
function checkPlaces({ pipeline }: Opening, { epoch, fingerprint }: EpochRow, views: readonly PartitionView[]): void {
  const away = tasksOf(views).filter((task) => !fingerprint.tasks.includes(task))
  const uneven = unevenTask(views, away)
  if (uneven === undefined) return
  const { task, partition } = uneven
  throw new ForebayError(
    'FB_TASKS',
    `Task ${task} of pipeline "${pipeline}" is not part of epoch ${epoch} and left while its queues of partition ${partition} stood at different events, so its place would be lost with another routing. Bring it back with the old routing and let it catch up first, or give up what it missed once the floor has passed it: \`forebay tasks skip ${task}\`.`,
  )
}

function cutSentenceOf({ epoch, fingerprint: was }: EpochRow, { pipeline, fingerprint }: Opening): string {
  const changes = differencesOf(was, fingerprint).map((change) => `${change.field} ${change.is} instead of ${change.was}`)
  return `pipeline "${pipeline}" was drained: epoch ${epoch + 1} opens with ${changes.join(', ')}`
}

function inFlightSentence({ epoch, version }: EpochRow, { pipeline, fingerprint }: Opening, first: Undrained): string {
  return `Epoch ${epoch + 1} (version ${fingerprint.version}) of pipeline "${pipeline}" opens while jobs of version ${version} are in flight (${undrainedText(first)}): events above a floor that it decodes otherwise, gives another key, or whose first durable task is another one may be lost or doubled.`
}

/** Throws when the ledger belongs to another log, or the active epoch forbids this version. */
function verdictOf(known: Known, opening: Opening): Verdict {
  if (known.pipeline === undefined || known.active === undefined) return 'open'
  const { active } = known
  checkIdentity(known.pipeline, opening)
  checkVersion(known, opening)
  const isOtherVersion = active.version !== opening.fingerprint.version
  if (differencesOf(active.fingerprint, opening.fingerprint).length > 0) return 'cut'
  if (isSame(active.fingerprint, opening.fingerprint)) {
    if (known.pipeline.partitions !== opening.identity.partitions) return 'open'
    const isComplete = active.isMarked && (active.fingerprint.ephemeral ?? opening.fingerprint.ephemeral) === active.fingerprint.ephemeral
    return isComplete ? 'join' : 'complete'
  }
  if (opening.isJoinOnly !== true || !isOtherVersion) return 'open'
  throw new ForebayError(
    'FB_EPOCH_CLOSED',
    `Pipeline "${opening.pipeline}" is at epoch ${active.epoch} (version ${active.version}), this node has version ${opening.fingerprint.version}; restart it with the version of the epoch.`,
  )
}

/** Throws FB_IDENTITY when the ledger was built on another log. */
export function checkIdentity(stored: PipelineRow, { pipeline, topic, identity }: Pick<Opening, 'pipeline' | 'topic' | 'identity'>): void {
  const refuse = (what: string, was: string, is: string) => {
    throw new ForebayError(
      'FB_IDENTITY',
      `The ledger of pipeline "${pipeline}" was built on ${what} ${was}, but the event log is ${what} ${is}; point forebay at the right log or database, or give the pipeline another name.`,
    )
  }
  if (stored.cluster !== identity.cluster) refuse('cluster', stored.cluster, identity.cluster)
  if (stored.topic !== topic) refuse('topic', stored.topic, topic)
  if (stored.topic_id !== null && identity.topicId !== null && stored.topic_id !== identity.topicId) {
    refuse(`topic "${topic}" of id`, stored.topic_id, identity.topicId)
  }
  if (stored.partitions > identity.partitions) {
    refuse(`topic "${topic}" with partitions:`, String(stored.partitions), String(identity.partitions))
  }
}

/** Throws FB_ROUTING unless everything is drained, and nobody runs or all were asked to drain. */
async function checkCut(client: pg.ClientBase, opening: Opening, active: EpochRow): Promise<void> {
  const { pipeline, fingerprint, drainRequest } = opening
  const differences = differencesOf(active.fingerprint, fingerprint)
  const was = differences.map((difference) => `${difference.field} ${difference.was}`).join(', ')
  const is = differences.map((difference) => `${difference.field} ${difference.is}`).join(', ')
  const who = drainRequest === undefined ? 'this node' : 'the configuration'
  const refuse = (what: string): never => {
    throw new ForebayError('FB_ROUTING', `Epoch ${active.epoch} of pipeline "${pipeline}" has ${was}, ${who} has ${is}: ${what}.`)
  }
  if (opening.isJoinOnly === true) refuse(`its epoch was closed, so it owns nothing and waits; start it again with ${was}`)
  if (drainRequest === undefined) {
    const running = (await freshNodes(client, pipeline)).filter(({ epoch }) => epoch !== null).map(({ node }) => node)
    const others = `until ${running.join(', ')} stopped with nothing in flight`
    if (running.length > 0) refuse(`it owns nothing and waits for \`forebay routing apply\`, or ${others}. Or start it with ${was}`)
  } else await checkRequested(client, pipeline, drainRequest)
  const left = await undrained(client, pipeline, [...active.fingerprint.tasks, ...fingerprint.tasks])
  const [first] = left
  if (first === undefined) return
  const mend = drainRequest === undefined ? `; start a node with ${was} and run \`forebay routing apply\`` : ''
  const what = left.length === 1 ? 'a partition is' : `${left.length} partitions are`
  refuse(`it waits until ${what} drained (${undrainedText(first)})${mend}`)
}

/** Throws FB_FENCED when the request `id` is no longer there. */
export async function checkRequested(client: pg.ClientBase, pipeline: string, id: string): Promise<void> {
  if (await isRequested(client, pipeline, id)) return
  throw new ForebayError(
    'FB_FENCED',
    `The request to drain pipeline "${pipeline}" was withdrawn, or another epoch opened meanwhile; nothing was changed.`,
  )
}

/** Throws FB_FINGERPRINT for a version that another has superseded, unless an operator allowed it. */
export function checkVersion(
  { active, earlier, permissions }: Pick<Known, 'active' | 'earlier' | 'permissions'>,
  { pipeline, fingerprint: { version } }: Pick<Opening, 'pipeline' | 'fingerprint'>,
): void {
  if (active === undefined || version === active.version || earlier.every((epoch) => epoch.version !== version)) return
  if (permissions.some(({ kind, subject }) => kind === 'version' && subject === version)) return
  throw new ForebayError(
    'FB_FINGERPRINT',
    `Version ${version} of pipeline "${pipeline}" was superseded: epoch ${active.epoch} has version ${active.version}. Start version ${active.version}, or give the pipeline a new version; to roll back, say \`forebay versions accept ${version}\` and start version ${version} again.`,
  )
}

function epochOf(active: EpochRow | undefined, { pipeline, fileHash }: Opening): Epoch {
  if (active === undefined) throw new ForebayError('FB_INTERNAL', `pipeline "${pipeline}" has no epoch after opening one`)
  const isEdited = fileHash !== null && active.file_hash !== null && fileHash !== active.file_hash
  const warning = `The file of pipeline "${pipeline}" changed while its version stayed ${active.version}: if its conversion changed, give it a new version, or jobs of both conversions mix.`
  return { epoch: active.epoch, reset: active.reset, mark: active.mark, warnings: isEdited ? [warning] : [] }
}
