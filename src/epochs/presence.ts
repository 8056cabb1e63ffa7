/**
 * Which nodes of a pipeline run or wait, kept in the ledger's database for commands and for nodes that wait.
 *
 * Each node writes its row about once a second and removes it at a clean stop; a row that stands still is forgotten after a few
 * seconds, by the database's clock alone. Nothing but convenience rests on it: the lock of the epoch is what keeps two routings
 * apart. A beat also brings back whether the pipeline is asked to drain, so that the node flushes at once instead of at its
 * cadence.
 */
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type pg from 'pg'
import { isForebayError } from '../errors.ts'
import type { Clock } from '../schedule/clock.ts'
import { isDrainingSql } from './drain.ts'

const beatMs = 1000
const drainingBeatMs = 250
/** A row older than this, by the database's clock, is of a node that died. */
const freshMs = 6000

/** A node as it last told of itself. */
export interface PresentNode {
  readonly node: string
  /** The epoch it works in; null while it waits. */
  readonly epoch: number | null
  readonly fingerprint: Fingerprint
  readonly waitsFor: string | null
  /** Where it serves its status. */
  readonly http: string | null
  /** When it last told, as the database writes it. */
  readonly beatAt: string
}

/** The nodes that told of themselves within the last seconds, by name. */
export async function freshNodes(client: pg.ClientBase, pipeline: string): Promise<PresentNode[]> {
  const { rows } = await client.query<PresentNode>(
    `select node, epoch, fingerprint, waits_for as "waitsFor", http, beat_at::text as "beatAt" from forebay.nodes
     where pipeline = $1 and beat_at > now() - interval '${freshMs} ms' order by node`,
    [pipeline],
  )
  return rows
}

const beatRow = {
  name: 'forebay-beat',
  text: `with gone as (
      delete from forebay.nodes where pipeline = $1 and node <> $2 and beat_at < now() - interval '1 hour'
    ), beat as (
      insert into forebay.nodes (pipeline, node, epoch, fingerprint, waits_for, http) values ($1, $2, $3, $4, $5, $6)
      on conflict (pipeline, node) do update set epoch = $3, fingerprint = $4, waits_for = $5, http = $6, beat_at = now()
    )
    select ${isDrainingSql('$1', '$3::int')} as "isDraining"`,
}

export interface NodePresenceOptions {
  readonly pipeline: string
  /** Unique for this life of the process. */
  readonly node: string
  readonly fingerprint: Fingerprint
  /** Called at every beat while the pipeline is asked to drain. */
  readonly onDraining: () => void
}

interface Database {
  use<T>(doing: string, body: (client: pg.ClientBase) => Promise<T>): Promise<T>
}

export class NodePresence {
  readonly #ports: { readonly database: Database; readonly clock: Clock }
  readonly #options: NodePresenceOptions
  #told: Pick<PresentNode, 'epoch' | 'waitsFor' | 'http'> = { epoch: null, waitsFor: null, http: null }

  constructor(ports: { readonly database: Database; readonly clock: Clock }, options: NodePresenceOptions) {
    this.#ports = ports
    this.#options = options
  }

  /** Tells where the node stands now, at once. A database that is away hears of it with a later beat. */
  async tell(told: Partial<Pick<PresentNode, 'epoch' | 'waitsFor' | 'http'>>): Promise<void> {
    this.#told = { ...this.#told, ...told }
    await this.#beat()
  }

  /** Beats until `signal` aborts, then takes the row away. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const isDraining = await this.#beat()
      if (isDraining) this.#options.onDraining()
      await this.#ports.clock.sleep(isDraining ? drainingBeatMs : beatMs, signal)
    }
    const { pipeline, node } = this.#options
    await this.#reach('taking leave', (client) =>
      client.query('delete from forebay.nodes where pipeline = $1 and node = $2', [pipeline, node]),
    )
  }

  async #beat(): Promise<boolean> {
    const { pipeline, node, fingerprint } = this.#options
    const { epoch, waitsFor, http } = this.#told
    const values = [pipeline, node, epoch, JSON.stringify(fingerprint), waitsFor, http]
    const result = await this.#reach('telling that the node lives', (client) =>
      client.query<{ isDraining: boolean }>({ ...beatRow, values }),
    )
    return result?.rows[0]?.isDraining === true
  }

  /** A failure is no news: whoever needs the database tells of it. */
  async #reach<T>(doing: string, body: (client: pg.ClientBase) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#ports.database.use(doing, body)
    } catch (error) {
      if (!isForebayError(error)) throw error
      return undefined
    }
  }
}
