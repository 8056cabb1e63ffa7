import type { Fingerprint } from '../../src/ledger/fingerprint.ts'
import { randomUUID } from 'node:crypto'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { putRequest } from '../../src/epochs/drain.ts'
import { openPostgresLedger } from '../../src/ledger/postgres-ledger.ts'
import type { PostgresLedgerOptions } from '../../src/ledger/postgres-ledger.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import type { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import { NodePresence } from '../../src/epochs/presence.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import { PostgresOwnerBook } from '../../src/sandbox/postgres-owner-book.ts'
import { describeLedger } from '../ports/ledger.contract.ts'
import { describeOwnerBook } from '../ports/owner-book.contract.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let pool: PostgresPool
let pipelines = 0
const fingerprint: Fingerprint = { queues: 2, hash: 'fnv', segmentBytesMax: 65536, eventBytesMax: 1048576, tasks: ['a', 'b'], version: '1' }

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  await database.query(`create table rows (pipeline text, row text check (row <> 'bad'));
    create table numbers (n int);
    create table parents (id int primary key);
    create table children (id int references parents deferrable initially deferred)`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

function optionsOf(pipeline: string, change: Partial<PostgresLedgerOptions> = {}): PostgresLedgerOptions {
  const identity = { cluster: 'north', topicId: 'T1', partitions: 2 }
  const startAt = async () =>
    new Map([
      [0, 9n],
      [1, 9n],
    ])
  return {
    pool,
    pipeline,
    topic: 'trades',
    identity,
    fingerprint,
    fileHash: 'f1',
    synchronousCommit: 'on',
    startAt,
    earliestFloors: startAt,
    ...change,
  }
}

describeOwnerBook('PostgresOwnerBook', async () => {
  const pipeline = `book's ${++pipelines}`
  await openPostgresLedger(optionsOf(pipeline))
  return {
    book: (epoch) => new PostgresOwnerBook({ pool, pipeline, epoch }),
    setFloor: async (floor) => {
      await pool.use('raising a floor', (client) =>
        client.query('update forebay.floors set floor = $2 where pipeline = $1 and partition = 0', [pipeline, String(floor)]),
      )
    },
  }
})

for (const synchronousCommit of ['on', 'off'] as const) {
  describeLedger<PostgresTransaction>(`PostgresLedger with synchronous_commit ${synchronousCommit}`, async () => {
    const pipeline = `contract's ${++pipelines}`
    return {
      node: (version) => openPostgresLedger(optionsOf(pipeline, { synchronousCommit, fingerprint: { ...fingerprint, version } })),
      forgetEpoch: async () =>
        void (await database.query(
          'delete from forebay.epochs where pipeline = $1 and epoch = (select max(epoch) from forebay.epochs where pipeline = $1)',
          [pipeline],
        )),
      put: async (transaction, row) =>
        void (await transaction.query({ text: 'insert into rows values ($1, $2)', values: [pipeline, row] })),
      rows: async () =>
        (await database.query<{ row: string }>('select row from rows where pipeline = $1', [pipeline])).map(({ row }) => row),
      letterCount: async () => (await database.query('select from forebay.dead_letters where pipeline = $1', [pipeline])).length,
      close: async () => {},
    }
  })
}

describe('a flush into Postgres', () => {
  let pipeline: string
  const advances = [{ partition: 0, queue: 0, from: 9n, to: 15n }]
  beforeEach(async () => {
    pipeline = `flush ${++pipelines}`
    await database.query('truncate numbers')
  })

  it('streams many chunks into COPY', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const chunks = Array.from({ length: 300 }, (_, i) => Buffer.from(`${i}\n`.repeat(5_000)))
    let copied = 0
    await ledger.flush({ task: 'a', advances, write: async (tx) => void (copied = await tx.copyFrom('copy numbers from stdin', chunks)) })
    expect(copied).toBe(1_500_000)
    const rows = await database.query<{ count: string; sum: string }>('select count(*), sum(n) from numbers')
    expect(rows).toEqual([{ count: '1500000', sum: String((5_000 * 299 * 300) / 2) }])
  })

  it('goes on after a COPY that the server refuses in the middle of a long stream', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const chunks = [Buffer.from('1\nx\n'), ...Array.from({ length: 400 }, () => Buffer.from('2\n'.repeat(20_000)))]
    await ledger.flush({
      task: 'a',
      advances,
      write: async (tx) => {
        await expect(tx.attempt(() => tx.copyFrom('copy numbers from stdin', chunks))).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
        await expect(tx.attempt(() => tx.copyFrom('copy missing from stdin', chunks))).rejects.toMatchObject({ code: 'FB_SCHEMA' })
        await tx.copyFrom('copy numbers from stdin', [Buffer.from('7\n')])
      },
    })
    expect(await database.query('select n from numbers')).toEqual([{ n: 7 }])
  })

  it('meets a deferred constraint inside the attempt, not at COMMIT', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    await ledger.flush({
      task: 'a',
      advances,
      write: async (tx) => {
        await expect(tx.attempt(() => tx.query({ text: 'insert into children values (1)' }))).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
      },
    })
    expect((await ledger.read(0)).rows.get('a')).toEqual([15n, 9n])
  })

  it('refuses to commit when a sink let the failure of a statement through (I7)', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const write = (tx: PostgresTransaction) =>
      tx.query({ text: 'select nope' }).then(
        () => {},
        () => {},
      )
    await expect(ledger.flush({ task: 'a', advances, write })).rejects.toMatchObject({ code: 'FB_INTERNAL' })
    expect((await ledger.read(0)).rows.get('a')).toEqual([9n, 9n])
  })

  it('survives a connection that dies while rows are written', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const write = async (tx: PostgresTransaction) => {
      const { rows } = await tx.query<{ pid: number }>({ text: 'select pg_backend_pid() as pid' })
      await database.query('select pg_terminate_backend($1)', [rows[0]?.pid])
      await tx.attempt(() => tx.copyFrom('copy numbers from stdin', [Buffer.from('1\n')]))
    }
    await expect(ledger.flush({ task: 'a', advances, write })).rejects.toMatchObject({ code: 'FB_DATABASE_UNREACHABLE' })
    await ledger.flush({ task: 'a', advances, write: async () => {} })
    expect((await ledger.read(0)).rows.get('a')).toEqual([15n, 9n])
  })

  it('says that the outcome is unknown when the answer to COMMIT is lost, and the watermark tells it', async () => {
    const url = new URL(database.url)
    const proxy = createServer((from) => {
      const to = connect(Number(url.port), url.hostname)
      from.on('error', () => to.destroy())
      to.on('error', () => from.destroy())
      let isCommitting = false
      from.on('data', (bytes) => {
        isCommitting ||= bytes.includes('commit\0')
        to.write(bytes)
      })
      to.on('data', (bytes) => (isCommitting ? from.destroy() : from.write(bytes)))
      from.on('close', () => to.end())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    url.hostname = '127.0.0.1'
    const throughProxy = new URL(url)
    throughProxy.port = String((proxy.address() as AddressInfo).port)
    const direct = await openPostgresLedger(optionsOf(pipeline))
    await using proxied = testPool(throughProxy.href)
    const ledger = await openPostgresLedger(optionsOf(pipeline, { pool: proxied }))
    await expect(ledger.flush({ task: 'a', advances, write: async () => {} })).rejects.toMatchObject({ code: 'FB_DATABASE_UNREACHABLE' })
    expect((await direct.read(0)).rows.get('a')).toEqual([15n, 9n])
    proxy.close()
  })

  it('keeps a new epoch from opening by its lock alone, before any watermark has moved', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    let isOpen = false
    let opening: Promise<unknown> = Promise.resolve()
    const write = async () => {
      opening = openPostgresLedger(optionsOf(pipeline, { fingerprint: { ...fingerprint, version: '2' } })).then(() => (isOpen = true))
      // Long enough for an opening that waits for nobody.
      await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 300))])
      expect(isOpen).toBe(false)
    }
    await ledger.flush({ task: 'a', advances: [], write })
    await opening
    expect(isOpen).toBe(true)
  })

  it('waits for a floor that another owner is raising, and never takes it back (I5)', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const idle = { sent: 9n, isIdle: true }
    let settling: Promise<{ floor: bigint }> | undefined
    await pool.use('raising a floor', async (client) => {
      await client.query('begin')
      await client.query('update forebay.floors set floor = 20 where pipeline = $1 and partition = 0', [pipeline])
      settling = ledger.settle({ partition: 0, position: 12n, queues: [idle, idle] })
      const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      await expect.poll(async () => (await database.query(waiting)).length).toBe(1)
      await client.query('commit')
    })
    expect((await settling)?.floor).toBe(20n)
    expect((await ledger.read(0)).floor).toBe(20n)
  })

  it('buries a letter once, with a payload and an error of any bytes', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const payload = Buffer.from([0, 255, 92, 34, 123])
    const letters = Array.from({ length: 100 }, (_, i) => ({
      partition: 0,
      queue: 0,
      offset: BigInt(i),
      ordinal: 0,
      task: null,
      error: 'a\0"b\\',
      payload,
      isPayloadCut: true,
      traceparent: i === 99 ? '00-1' : undefined,
    }))
    await ledger.flush({ task: 'a', advances, write: (tx) => tx.bury([...letters, letters[0]!]) })
    expect(await ledger.deadLetterCount()).toBe(100)
    const [row] = await database.query(
      'select topic, task, error, payload, is_payload_cut, traceparent from forebay.dead_letters where pipeline = $1 and "offset" = 99',
      [pipeline],
    )
    expect(row).toEqual({ topic: 'trades', task: null, error: 'a\ufffd"b\\', payload, is_payload_cut: true, traceparent: '00-1' })
  })
})

describe('dead letters', () => {
  it('are the same whether many are written at once or few', async () => {
    const texts = ['a\0"b\\', '\\N', '\\x41', 'one\ttwo\nthree\r\n', 'half \ud800 a pair', '', '\u0001\u007f株\\.']
    const letters = Array.from({ length: 100 }, (_, i) => ({
      partition: 1,
      queue: i % 3,
      offset: BigInt(i) * 10n ** 16n,
      ordinal: i % 4,
      task: i % 5 === 0 ? null : texts[i % texts.length]!,
      error: texts[(i + 1) % texts.length]!,
      payload: i % 6 === 0 ? null : Buffer.from([i, 0, 255, 92, 34, 9, 10].slice(0, i % 8)),
      isPayloadCut: i % 2 === 0,
      isJob: i % 3 === 0,
      traceparent: i % 7 === 0 ? undefined : texts[i % texts.length]!.replaceAll('\0', ''),
      eventTimeMs: i % 9 === 0 ? undefined : i - 50,
    }))
    const found = async (group: number) => {
      const pipeline = `letters in groups ${group}`
      const ledger = await openPostgresLedger(optionsOf(pipeline))
      const write = async (tx: PostgresTransaction) => {
        for (let i = 0; i < letters.length; i += group) await tx.bury(letters.slice(i, i + group).map(withoutNul))
        // All of them are there already: neither way minds.
        await tx.bury(letters.map(withoutNul))
      }
      await ledger.flush({ task: 'a', advances: [{ partition: 0, queue: 0, from: 9n, to: 15n }], write })
      return database.query(
        'select partition, queue, "offset", ordinal, task, error, payload, is_payload_cut, is_job, traceparent, event_ms, attempts, resolution from forebay.dead_letters where pipeline = $1 order by "offset"',
        [pipeline],
      )
    }
    const withoutNul = (letter: (typeof letters)[0]) => ({ ...letter, task: letter.task?.replaceAll('\0', '') ?? null })
    const many = await found(100)
    expect(many).toHaveLength(100)
    expect(many).toEqual(await found(10))
  })
})

describe('opening a ledger', () => {
  let pipeline: string
  beforeEach(() => {
    pipeline = `open ${++pipelines}`
  })
  const refusal = async (change: Partial<PostgresLedgerOptions>) =>
    openPostgresLedger(optionsOf(pipeline, change)).catch((error: unknown) => error)

  it('makes one schema and one epoch when several nodes start at once', async () => {
    const fresh = await createTestDatabase()
    await using freshPool = testPool(fresh.url)
    const nodes = await Promise.all(Array.from({ length: 4 }, () => openPostgresLedger(optionsOf(pipeline, { pool: freshPool }))))
    expect(new Set(nodes.map(({ deployment }) => deployment)).size).toBe(1)
    expect(nodes.map(({ epoch }) => epoch)).toEqual([1, 1, 1, 1])
    await freshPool[Symbol.asyncDispose]()
    await fresh.drop()
  })

  it('refuses a schema made by a newer forebay', async () => {
    const fresh = await createTestDatabase()
    await using freshPool = testPool(fresh.url)
    await openPostgresLedger(optionsOf(pipeline, { pool: freshPool }))
    await fresh.query('update forebay.deployment set schema_version = 99')
    expect(await refusal({ pool: freshPool })).toMatchObject({ code: 'FB_DATABASE_WRONG', message: expect.stringContaining('99') })
    await freshPool[Symbol.asyncDispose]()
    await fresh.drop()
  })

  it.each([
    ['cluster', { cluster: 'south' }, ['north', 'south']],
    ['topic id', { topicId: 'T2' }, ['T1', 'T2']],
    ['fewer partitions', { partitions: 1 }, ['2', '1']],
  ])('refuses another %s and names both sides', async (_, change, both) => {
    await openPostgresLedger(optionsOf(pipeline))
    const error = await refusal({ identity: { cluster: 'north', topicId: 'T1', partitions: 2, ...change } })
    expect(error).toMatchObject({ code: 'FB_IDENTITY' })
    for (const side of both) expect(String(error)).toContain(side)
  })

  it('starts added partitions at the beginning and leaves the others where they are', async () => {
    await openPostgresLedger(optionsOf(pipeline))
    const ledger = await openPostgresLedger(optionsOf(pipeline, { identity: { cluster: 'north', topicId: 'T1', partitions: 3 } }))
    expect(ledger.epoch).toBe(1)
    expect(await ledger.read(2)).toEqual({
      partition: 2,
      floor: -1n,
      rows: new Map([
        ['a', [-1n, -1n]],
        ['b', [-1n, -1n]],
      ]),
    })
    expect((await ledger.read(0)).floor).toBe(9n)
  })

  const move = (ledger: Awaited<ReturnType<typeof openPostgresLedger>>) =>
    ledger.flush({ task: 'a', advances: [{ partition: 0, queue: 1, from: 9n, to: 15n }], write: async () => {} })
  const drained = { partition: 0, position: 15n, queues: [15n, 15n].map((sent) => ({ sent, isIdle: true })) }
  const drain = async (ledger: Awaited<ReturnType<typeof openPostgresLedger>>) => {
    await ledger.flush({ task: 'b', advances: [{ partition: 0, queue: 1, from: 9n, to: 15n }], write: async () => {} })
    for (const task of ['a', 'b'])
      await ledger.flush({ task, advances: [{ partition: 0, queue: 0, from: 9n, to: 15n }], write: async () => {} })
    expect((await ledger.settle(drained)).floor).toBe(15n)
  }

  it.each(['queues', 'segmentBytesMax', 'eventBytesMax'] as const)(
    'makes a node of another %s wait while a row lies above a floor, names both values, and cuts at the floors once none does (I8)',
    async (field) => {
      const first = await openPostgresLedger(optionsOf(pipeline))
      await move(first)
      const other = { fingerprint: { ...fingerprint, [field]: 3 } }
      const error = await refusal(other)
      expect(error).toMatchObject({
        code: 'FB_ROUTING',
        message: expect.stringMatching(/partition 0: task a has applied up to 15 in queue 1, the floor is 9/),
      })
      for (const value of [`${field} 3`, `${field} ${fingerprint[field]}`]) expect(String(error)).toContain(value)
      await drain(first)
      const second = await openPostgresLedger(optionsOf(pipeline, other))
      expect([second.epoch, second.cutSentence]).toEqual([2, expect.stringContaining(`${field} 3 instead of ${fingerprint[field]}`)])
      const { floor, rows } = await second.read(0)
      expect([floor, rows.get('a')]).toEqual([15n, Array.from({ length: field === 'queues' ? 3 : 2 }, () => 15n)])
      const cut = await database.query('select cut from forebay.epochs where pipeline = $1 and epoch = 2', [pipeline])
      expect(cut).toEqual([{ cut: { 0: '15', 1: '9' } }])
      await expect(move(first)).rejects.toMatchObject({
        code: 'FB_EPOCH_CLOSED',
        message: expect.stringContaining('closed by a reset, another routing or other tasks'),
      })
      expect(await refusal({ isJoinOnly: true })).toMatchObject({ code: 'FB_ROUTING' })
      expect((await openPostgresLedger(optionsOf(pipeline, other))).cutSentence).toBeUndefined()
    },
  )

  it('makes a node of another routing wait while nodes run, and no longer than they tell of themselves', async () => {
    const { epoch } = await openPostgresLedger(optionsOf(pipeline))
    const presence = new NodePresence(
      { database: pool, clock: new SystemClock() },
      { pipeline, node: 'n1', fingerprint, onDraining: () => {} },
    )
    await presence.tell({ epoch })
    const other = { fingerprint: { ...fingerprint, queues: 5 } }
    expect(await refusal(other)).toMatchObject({ code: 'FB_ROUTING', message: expect.stringContaining('until n1 stopped') })
    await database.query(`update forebay.nodes set beat_at = now() - interval '1 minute' where pipeline = $1`, [pipeline])
    expect((await openPostgresLedger(optionsOf(pipeline, other))).epoch).toBe(2)
  })

  it('tells owners of its epoch to drain while the request is renewed, and no others', async () => {
    const ledger = await openPostgresLedger(optionsOf(pipeline))
    const isDraining = async () => [
      (await ledger.read(0)).isDraining,
      (await ledger.settle({ partition: 0, position: 9n, queues: [] })).isDraining,
    ]
    const put = (epoch: number) =>
      pool.use('asking', (client) => putRequest(client, pipeline, { id: randomUUID(), epoch, purpose: 'a test', requestedBy: 'me' }))
    expect(await isDraining()).toEqual([undefined, undefined])
    expect(await put(1)).toBe(true)
    expect(await isDraining()).toEqual([true, true])
    expect(await put(1)).toBe(false)
    await database.query(`update forebay.cuts set renewed_at = now() - interval '11 s' where pipeline = $1`, [pipeline])
    expect(await isDraining()).toEqual([undefined, undefined])
    expect(await put(7)).toBe(true)
    expect(await isDraining()).toEqual([undefined, undefined])
  })

  it('refuses a version that another has superseded and names both', async () => {
    await openPostgresLedger(optionsOf(pipeline))
    const second = await openPostgresLedger(optionsOf(pipeline, { fingerprint: { ...fingerprint, version: '2' } }))
    expect(second.epoch).toBe(2)
    expect(await refusal({})).toMatchObject({ code: 'FB_FINGERPRINT', message: expect.stringMatching(/Version 1 .* version 2/) })
  })

  it('starts a task that is added later at the present floor', async () => {
    const first = await openPostgresLedger(optionsOf(pipeline))
    await first.settle({
      partition: 0,
      position: 50n,
      queues: [
        { sent: 9n, isIdle: true },
        { sent: 9n, isIdle: true },
      ],
    })
    const second = await openPostgresLedger(optionsOf(pipeline, { fingerprint: { ...fingerprint, tasks: ['a', 'b', 'c'] } }))
    expect(second.epoch).toBe(2)
    expect((await second.read(0)).rows.get('c')).toEqual([50n, 50n])
  })

  it('warns when the file changed and the version did not', async () => {
    expect((await openPostgresLedger(optionsOf(pipeline))).warnings).toEqual([])
    expect((await openPostgresLedger(optionsOf(pipeline, { fileHash: 'f2' }))).warnings).toEqual([expect.stringContaining('version')])
  })

  it('says that the database is unreachable when nothing listens', async () => {
    await using nowhere = testPool('postgres://nobody@127.0.0.1:1/none')
    expect(await refusal({ pool: nowhere })).toMatchObject({ code: 'FB_DATABASE_UNREACHABLE' })
  })
})
