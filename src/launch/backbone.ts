/** What the nodes stand on: the database, the broker of cluster mode, tables and topic. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { must } from '../assert.ts'
import { nextOffsetAfter, type EventLog } from '../events/event-log.ts'
import { KafkaEventLog } from '../events/kafka-event-log.ts'
import { PostgresEventLog } from '../events/postgres-event-log.ts'
import { feedPartitions, feedTopic, type FeedTarget } from './feed-target.ts'
import { createFeedTopic, KafkaFeedTarget } from './kafka-feed-target.ts'
import { startKafka } from './kafka-server.ts'
import { provisionJars, type ServerJars } from './maven-jars.ts'
import type { LaunchMode } from './options.ts'
import { packageRoot, serversFolder } from './package-root.ts'
import { PostgresFeedTarget } from './postgres-feed-target.ts'
import { startPostgres, type PostgresHandle } from './postgres-server.ts'
import type { ServerHandle } from './server.ts'
import type { StateFolder } from './state-folder.ts'
import { SupervisedServer } from './supervised-server.ts'

export interface BackboneOptions {
  readonly mode: LaunchMode
  readonly state: StateFolder
  readonly log: (line: string) => void
  readonly onRestart: () => void
}

/** Tables of the example, by the task that writes them. */
const exampleTables = { storeTrade: 'trades', minuteCandle: 'candles' } as const
const examplePipelineName = 'stock-ticks'
/** The event log in Postgres keeps the last million events of a partition. */
const retentionEvents = 1_000_000
const trimMs = 10_000
/** Nothing is deleted from the event log while more than half of what it keeps is still to be processed. */
const trimLagMax = retentionEvents / 2

export interface TableCounts {
  readonly rows: Readonly<Record<string, number>>
  readonly deadLetters: number
}

export class Backbone {
  readonly jars: ServerJars | undefined
  readonly #postgres: SupervisedServer<PostgresHandle>
  readonly #kafka: SupervisedServer | undefined
  readonly #log: EventLog
  readonly #database: pg.Pool
  #trimmer: NodeJS.Timeout | undefined

  private constructor(jars: ServerJars | undefined, postgres: SupervisedServer<PostgresHandle>, kafka: SupervisedServer | undefined) {
    this.jars = jars
    this.#postgres = postgres
    this.#kafka = kafka
    this.#log = openLog(postgres.current.url, kafka)
    this.#database = new pg.Pool({ connectionString: postgres.current.url, max: 2, connectionTimeoutMillis: 5000 })
    // An idle connection of a killed server: the next query opens another.
    this.#database.on('error', () => undefined)
  }

  /** Starts the servers and makes tables and topic. Throws FB_SERVER_START, FB_TOOL_MISSING; what was started is stopped then. */
  static async start({ mode, state, log, onRestart }: BackboneOptions): Promise<Backbone> {
    mkdirSync(state.dir, { recursive: true })
    const jars = mode === 'cluster' ? await provisionJars(serversFolder, log) : undefined
    const supervised = { log, onRestart }
    // After a crash a server comes back at its old port: everybody has its address.
    let postgresPort: number | undefined
    const startDatabase = async () => {
      const server = await startPostgres({
        dir: join(state.dir, 'postgres'),
        pids: state.pids,
        log: postgresPort === undefined ? log : () => undefined,
        port: postgresPort,
      })
      postgresPort = portOf(server)
      return server
    }
    const postgres = await SupervisedServer.start({ start: startDatabase, ...supervised })
    let kafka: SupervisedServer | undefined
    try {
      kafka = jars === undefined ? undefined : await startBroker(state, jars, supervised)
      const backbone = new Backbone(jars, postgres, kafka)
      try {
        await backbone.#makeTables()
        return backbone
      } catch (error) {
        await backbone.#close()
        throw error
      }
    } catch (error) {
      await kafka?.stop()
      await postgres.stop()
      throw error
    }
  }

  get databaseUrl(): string {
    return this.#postgres.current.url
  }

  get brokers(): readonly string[] | undefined {
    return this.#kafka === undefined ? undefined : [this.#kafka.current.address]
  }

  get handles(): readonly ServerHandle[] {
    return [...(this.#kafka === undefined ? [] : [this.#kafka.current]), this.#postgres.current]
  }

  /** Makes the topic when it is missing and opens it for a feed. */
  async openFeedTarget(): Promise<FeedTarget> {
    if (this.brokers !== undefined) {
      await createFeedTopic(this.brokers)
      return new KafkaFeedTarget(this.brokers)
    }
    const target = new PostgresFeedTarget(this.databaseUrl)
    await target.createTopic(retentionEvents)
    this.#trimmer ??= setInterval(() => void this.#trim(target), trimMs)
    return target
  }

  /** Events of the log above the floor of their partition. 0: everything is applied. Throws when a server does not answer. */
  async lag(): Promise<number> {
    const floors = await this.#floors()
    let lag = 0
    for (let partition = 0; partition < feedPartitions; partition++) {
      const { startOffset, endOffset } = await this.#log.range(partition)
      const floor = floors.get(partition)
      lag += Number(endOffset - (floor === undefined ? startOffset : nextOffsetAfter(floor)))
    }
    return lag
  }

  /** Rows in the example's tables and dead letters. */
  async count(): Promise<TableCounts> {
    const rows = new Map<string, number>()
    for (const [task, table] of Object.entries(exampleTables)) rows.set(task, await this.#number(`select count(*) as n from ${table}`))
    const hasLedger = await this.#hasTable('dead_letters')
    return {
      rows: Object.fromEntries(rows),
      deadLetters: hasLedger ? await this.#number('select count(*) as n from forebay.dead_letters') : 0,
    }
  }

  async stop(): Promise<void> {
    await this.#close()
    await this.#kafka?.stop()
    await this.#postgres.stop()
  }

  async #close(): Promise<void> {
    clearInterval(this.#trimmer)
    await this.#log[Symbol.asyncDispose]().catch(() => undefined)
    await this.#database.end().catch(() => undefined)
  }

  async #makeTables(): Promise<void> {
    await this.#database.query(readFileSync(join(packageRoot, 'examples', 'stock-ticks', 'schema.sql'), 'utf8'))
  }

  async #trim(target: PostgresFeedTarget): Promise<void> {
    try {
      if ((await this.lag()) < trimLagMax) await target.trim()
    } catch {
      // The database is away; the next turn comes.
    }
  }

  async #floors(): Promise<ReadonlyMap<number, bigint>> {
    if (!(await this.#hasTable('floors'))) return new Map()
    const { rows } = await this.#database.query<{ partition: number; floor: string }>(
      'select partition, floor from forebay.floors where pipeline = $1',
      [examplePipelineName],
    )
    return new Map(rows.map(({ partition, floor }) => [partition, BigInt(floor)]))
  }

  async #hasTable(name: string): Promise<boolean> {
    return (await this.#number(`select count(*) as n from pg_catalog.pg_tables where schemaname = 'forebay' and tablename = '${name}'`)) > 0
  }

  async #number(query: string): Promise<number> {
    const { rows } = await this.#database.query<{ n: string }>(query)
    return Number(must(rows[0], 'a row').n)
  }
}

function startBroker(
  state: StateFolder,
  jars: ServerJars,
  supervised: { log: (line: string) => void; onRestart: () => void },
): Promise<SupervisedServer> {
  let port: number | undefined
  const start = async () => {
    const server = await startKafka({ dir: join(state.dir, 'kafka'), pids: state.pids, jars: jars.kafka, port })
    port = portOf(server)
    return server
  }
  return SupervisedServer.start({ start, ...supervised })
}

function openLog(url: string, kafka: SupervisedServer | undefined): EventLog {
  if (kafka === undefined) return new PostgresEventLog({ url, topic: feedTopic, pipelineGroup: examplePipelineName })
  return new KafkaEventLog({
    brokers: [kafka.current.address],
    clientId: 'forebay-launcher',
    topic: feedTopic,
    pipelineGroup: examplePipelineName,
  })
}

function portOf({ address }: ServerHandle): number {
  return Number(address.slice(address.lastIndexOf(':') + 1))
}
