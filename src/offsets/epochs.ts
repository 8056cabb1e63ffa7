/**
 * Opening a pipeline's ledger: is this the same log as before (rule 13), and which epoch is it (rule 11)?
 *
 * A start reads first, without a lock, so that a node that joins disturbs nobody. Only a first start, a new version or
 * added partitions take the exclusive lock, look again, and write.
 */
import { createHash } from 'node:crypto'
import pg from 'pg'
import { ForebayError } from '../errors.ts'
import type { LogIdentity } from '../events/event-log.ts'

/** What all nodes of one epoch have in common. The first four decide which job goes where and when it is refused. */
export interface Fingerprint {
  readonly queues: number
  /** Names the function from key to queue. */
  readonly hash: string
  readonly segmentBytesMax: number
  readonly eventBytesMax: number
  /** The tasks with watermarks, in their order. */
  readonly tasks: readonly string[]
  /** The pipeline's declared version: its converters. */
  readonly version: string
}

const routingFields = ['queues', 'hash', 'segmentBytesMax', 'eventBytesMax'] as const

export interface Opening {
  readonly pipeline: string
  readonly topic: string
  readonly identity: LogIdentity
  readonly fingerprint: Fingerprint
  /** Hash of the pipeline's file, null when there is none: another one under the same version is warned about. */
  readonly fileHash: string | null
  /**
   * The floors of a pipeline's very first start, by partition; asked for only then and outside of any transaction.
   * Partitions added later start at -1, so that none of their events is missed.
   */
  startAt(): Promise<ReadonlyMap<number, bigint>>
}

export interface Epoch {
  readonly epoch: number
  readonly reset: number
  /** Sentences an operator should read. */
  readonly warnings: readonly string[]
}

interface EpochRow {
  readonly epoch: number
  readonly reset: number
  readonly version: string
  readonly fingerprint: Fingerprint
  readonly file_hash: string | null
}

interface PipelineRow {
  readonly cluster: string
  readonly topic: string
  readonly topic_id: string | null
  readonly partitions: number
}

interface Known {
  readonly pipeline: PipelineRow | undefined
  readonly active: EpochRow | undefined
  readonly earlierVersions: readonly string[]
}

/** Key of the advisory lock that flushes share and an opening epoch holds alone. */
export function epochLock(pipeline: string): string {
  return String(createHash('sha256').update(`forebay epoch ${pipeline}`).digest().readBigInt64BE())
}

/** Joins the active epoch or opens one. Throws FB_IDENTITY or FB_FINGERPRINT. */
export async function openEpoch(client: pg.ClientBase, opening: Opening): Promise<Epoch> {
  const seen = await readKnown(client, opening)
  if (isJoinable(seen, opening)) return epochOf(seen.active, opening)
  const floors = seen.pipeline === undefined ? await opening.startAt() : new Map<number, bigint>()
  await client.query(`begin isolation level read committed read write; select pg_advisory_xact_lock(${epochLock(opening.pipeline)})`)
  const known = await readKnown(client, opening)
  if (!isJoinable(known, opening)) {
    if (known.pipeline === undefined) await insertPipeline(client, opening)
    await insertFloors(client, opening, floors)
    if (known.active === undefined || !isSame(known.active.fingerprint, opening.fingerprint))
      await insertEpoch(client, opening, known.active)
    await insertWatermarks(client, opening)
  }
  const after = await readKnown(client, opening)
  await client.query('commit')
  return epochOf(after.active, opening)
}

/** Nothing is to be written. Throws when the ledger belongs to another log, or the active epoch forbids this fingerprint. */
function isJoinable(known: Known, opening: Opening): boolean {
  if (known.pipeline === undefined || known.active === undefined) return false
  checkIdentity(known.pipeline, opening)
  checkFingerprint(known.active, known.earlierVersions, opening)
  return known.pipeline.partitions === opening.identity.partitions && isSame(known.active.fingerprint, opening.fingerprint)
}

function checkIdentity(stored: PipelineRow, { pipeline, topic, identity }: Opening): void {
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

function checkFingerprint(active: EpochRow, earlierVersions: readonly string[], { pipeline, fingerprint }: Opening): void {
  for (const field of routingFields) {
    const was = active.fingerprint[field]
    if (was === fingerprint[field]) continue
    throw new ForebayError(
      'FB_FINGERPRINT',
      `Epoch ${active.epoch} of pipeline "${pipeline}" has ${field} ${was}, this node has ${field} ${fingerprint[field]}; set ${field} back to ${was}, or give the pipeline another name.`,
    )
  }
  if (fingerprint.version !== active.version && earlierVersions.includes(fingerprint.version)) {
    throw new ForebayError(
      'FB_FINGERPRINT',
      `Version ${fingerprint.version} of pipeline "${pipeline}" was superseded: epoch ${active.epoch} has version ${active.version}; start that one, or give the pipeline a new version.`,
    )
  }
}

function isSame(a: Fingerprint, b: Fingerprint): boolean {
  const isSameTasks = a.tasks.length === b.tasks.length && a.tasks.every((task, i) => task === b.tasks[i])
  return isSameTasks && a.version === b.version && routingFields.every((field) => a[field] === b[field])
}

function epochOf(active: EpochRow | undefined, { pipeline, fileHash }: Opening): Epoch {
  if (active === undefined) throw new ForebayError('FB_INTERNAL', `pipeline "${pipeline}" has no epoch after opening one`)
  const isEdited = fileHash !== null && active.file_hash !== null && fileHash !== active.file_hash
  const warning = `The file of pipeline "${pipeline}" changed while its version stayed ${active.version}: if its conversion changed, give it a new version, or jobs of both conversions mix.`
  return { epoch: active.epoch, reset: active.reset, warnings: isEdited ? [warning] : [] }
}

async function readKnown(client: pg.ClientBase, { pipeline }: Opening): Promise<Known> {
  const pipelines = await client.query<PipelineRow>('select cluster, topic, topic_id, partitions from forebay.pipelines where name = $1', [
    pipeline,
  ])
  const epochs = await client.query<EpochRow>(
    'select epoch, reset, version, fingerprint, file_hash from forebay.epochs where pipeline = $1 order by epoch desc',
    [pipeline],
  )
  const [active, ...earlier] = epochs.rows
  return { pipeline: pipelines.rows[0], active, earlierVersions: earlier.map((row) => row.version) }
}

async function insertPipeline(client: pg.ClientBase, { pipeline, topic, identity }: Opening): Promise<void> {
  await client.query('insert into forebay.pipelines (name, cluster, topic, topic_id, partitions) values ($1, $2, $3, $4, $5)', [
    pipeline,
    identity.cluster,
    topic,
    identity.topicId,
    identity.partitions,
  ])
}

async function insertFloors(client: pg.ClientBase, { pipeline, identity }: Opening, floors: ReadonlyMap<number, bigint>): Promise<void> {
  const partitions = Array.from({ length: identity.partitions }, (_, partition) => partition)
  await client.query('update forebay.pipelines set partitions = $2 where name = $1', [pipeline, identity.partitions])
  await client.query('insert into forebay.floors select $1, * from unnest($2::int[], $3::bigint[]) on conflict do nothing', [
    pipeline,
    partitions,
    partitions.map((partition) => String(floors.get(partition) ?? -1n)),
  ])
}

async function insertEpoch(
  client: pg.ClientBase,
  { pipeline, fingerprint, fileHash }: Opening,
  active: EpochRow | undefined,
): Promise<void> {
  await client.query(
    'insert into forebay.epochs (pipeline, epoch, reset, version, fingerprint, file_hash) values ($1, $2, $3, $4, $5, $6)',
    [pipeline, (active?.epoch ?? 0) + 1, active?.reset ?? 0, fingerprint.version, JSON.stringify(fingerprint), fileHash],
  )
}

/** Rows that are there keep their watermark: an epoch of another version inherits it. */
async function insertWatermarks(client: pg.ClientBase, { pipeline, fingerprint }: Opening): Promise<void> {
  await client.query(
    `insert into forebay.watermarks (pipeline, task, partition, queue, applied)
     select f.pipeline, t.task, f.partition, q.queue, f.floor
     from forebay.floors f, unnest($2::text[]) t (task), generate_series(0, $3::int - 1) q (queue)
     where f.pipeline = $1 on conflict do nothing`,
    [pipeline, fingerprint.tasks, fingerprint.queues],
  )
}
