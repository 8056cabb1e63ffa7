/** A Postgres that wants TLS and client certificates: what each sslmode believes, and that every connection of a node keeps to it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { discardPostgres, startPostgres } from '../../src/launch/postgres-server.ts'
import type { PostgresHandle } from '../../src/launch/postgres-server.ts'
import { PostgresSession, sessionLock } from '../../src/ledger/postgres-session.ts'
import { makeAuthority } from '../support/certificates.ts'
import type { Authority } from '../support/certificates.ts'
import {
  ask,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
} from '../support/live-node.ts'
import { testPool } from '../support/postgres-database.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay-database-tls-'))
let postgres: PostgresHandle
let authority: Authority
let stranger: Authority
let client: Readonly<Record<string, string>>

beforeAll(async () => {
  authority = makeAuthority(dir, 'authority')
  stranger = makeAuthority(dir, 'stranger')
  const server = authority.issue('127.0.0.1')
  const own = authority.issue('guarded')
  client = { sslrootcert: authority.caFile, sslcert: own.certFile, sslkey: own.keyFile }
  postgres = await startPostgres({
    dir: join(dir, 'postgres'),
    settings: { ssl: 'on', ssl_ca_file: 'ca.crt', shared_buffers: '32MB' },
    files: {
      'ca.crt': readFileSync(authority.caFile, 'utf8'),
      'server.crt': readFileSync(server.certFile, 'utf8'),
      'server.key': readFileSync(server.keyFile, 'utf8'),
      'pg_hba.conf': ['hostssl all guarded all cert', 'hostssl all lax all trust', 'host all postgres all scram-sha-256'].join('\n'),
    },
  })
  for (const user of ['guarded', 'lax']) await ask(postgres.url, `create role ${user} login`)
  await ask(postgres.url, 'create database guarded owner guarded')
}, 120_000)
afterAll(async () => {
  await postgres?.stop()
  discardPostgres(join(dir, 'postgres'))
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

function urlOf(user: string, parameters: Readonly<Record<string, string>>, host = '127.0.0.1'): string {
  const url = new URL(postgres.url)
  url.username = user
  url.password = ''
  url.hostname = host
  url.pathname = '/guarded'
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

async function connected(url: string): Promise<unknown> {
  await using pool = testPool(url)
  const { rows } = await pool.use('looking', (connection) =>
    connection.query('select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()'),
  )
  return rows[0]
}

describe('A database that wants TLS', () => {
  it.each<[string, string, () => Record<string, string>, string]>([
    ['require, whoever answers', 'lax', () => ({ sslmode: 'require' }), 'localhost'],
    ['require with an authority, whatever the name', 'lax', () => ({ sslmode: 'require', sslrootcert: authority.caFile }), 'localhost'],
    ['verify-ca, whatever the name', 'lax', () => ({ sslmode: 'verify-ca', sslrootcert: authority.caFile }), 'localhost'],
    ['verify-full by the name on the certificate', 'lax', () => ({ sslmode: 'verify-full', sslrootcert: authority.caFile }), '127.0.0.1'],
    ['a certificate of its own', 'guarded', () => ({ sslmode: 'verify-full', ...client }), '127.0.0.1'],
  ])('is connected to with %s', async (_, user, parameters, host) => {
    expect(await connected(urlOf(user, parameters(), host))).toEqual({ ssl: true, client_dn: user === 'guarded' ? '/CN=guarded' : null })
  })

  it.each<[string, string, () => Record<string, string>, string, string, RegExp]>([
    [
      'another name',
      'lax',
      () => ({ sslmode: 'verify-full', sslrootcert: authority.caFile }),
      'localhost',
      'FB_DATABASE_TLS',
      /for another name.*host of database\.url/,
    ],
    [
      'an authority that is not believed',
      'lax',
      () => ({ sslmode: 'verify-full', sslrootcert: stranger.caFile }),
      '127.0.0.1',
      'FB_DATABASE_TLS',
      /not believed here.*sslrootcert in database\.url/,
    ],
    [
      'the same with verify-ca',
      'lax',
      () => ({ sslmode: 'verify-ca', sslrootcert: stranger.caFile }),
      '127.0.0.1',
      'FB_DATABASE_TLS',
      /not believed here/,
    ],
    [
      'the same with require',
      'lax',
      () => ({ sslmode: 'require', sslrootcert: stranger.caFile }),
      '127.0.0.1',
      'FB_DATABASE_TLS',
      /not believed here/,
    ],
    [
      'public authorities only',
      'lax',
      () => ({ sslmode: 'verify-full', sslrootcert: 'system' }),
      '127.0.0.1',
      'FB_DATABASE_TLS',
      /not believed here/,
    ],
    [
      'no certificate of its own',
      'guarded',
      () => ({ sslmode: 'verify-full', sslrootcert: authority.caFile }),
      '127.0.0.1',
      'FB_DATABASE_REFUSED',
      /valid client certificate/,
    ],
    [
      'a certificate of a stranger',
      'guarded',
      () => ({ sslmode: 'require', ...strangersPair() }),
      '127.0.0.1',
      'FB_DATABASE_TLS',
      /does not accept this client’s certificate.*sslcert and sslkey/,
    ],
    ['no TLS', 'guarded', () => ({}), '127.0.0.1', 'FB_DATABASE_REFUSED', /no encryption/],
  ])('says so to %s', async (_, user, parameters, host, code, sentence) => {
    await expect(connected(urlOf(user, parameters(), host))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(sentence) as string,
    })
  })

  it('is told apart from one that speaks none', async () => {
    const url = new URL(process.env['FOREBAY_TEST_POSTGRES_URL']!)
    url.searchParams.set('sslmode', 'require')
    await expect(connected(url.href)).rejects.toMatchObject({
      code: 'FB_DATABASE_TLS',
      message: expect.stringContaining('speaks no TLS') as string,
    })
  })

  it('is read and written by a node, its log’s notices and a command’s session, on no plain connection', async () => {
    const url = urlOf('guarded', { sslmode: 'verify-full', ...client })
    await createItemTables(plainUrl())
    await ask(plainUrl(), 'grant all on all tables in schema public to guarded; grant all on all sequences in schema public to guarded')
    await using feed = await postgresFeed(url, 'guarded')
    const node = await startNode(itemsPipeline({ topic: 'guarded' }), { url })
    await using session = new PostgresSession({
      url,
      applicationName: 'forebay session',
      statementTimeoutMs: 5_000,
      lockTimeoutMs: 1_000,
      lock: { key: sessionLock('test'), busy: 'busy' },
    })
    await session.open('looking')
    await feed.publish(0, itemValues(0, 50))
    await floorsReachEnd(plainUrl(), feed.events)
    expect(await differenceOf(plainUrl(), feed.events)).toEqual(noDifference)
    const found = await ask<{ name: string; listens: boolean; safe: boolean }>(
      plainUrl(),
      `select a.application_name as name, bool_or(query like 'listen %') as listens, bool_and(s.ssl and s.client_dn = '/CN=guarded') as safe
       from pg_stat_activity a join pg_stat_ssl s using (pid) where a.usename = 'guarded' group by 1 order by 1`,
    )
    expect(found).toEqual([
      { name: 'forebay event log', listens: true, safe: true },
      { name: 'forebay n1', listens: false, safe: true },
      { name: 'forebay session', listens: false, safe: true },
    ])
    await node.stop()
  })

  it('is connected to with files that were renewed, and says that a certificate has expired', async () => {
    const [data] = await ask<{ data_directory: string }>(postgres.url, 'show data_directory')
    const put = async (isExpired: boolean) => {
      const renewed = authority.issue('127.0.0.1', { isExpired })
      // Written into the files that are there: their owner is the server's.
      writeFileSync(join(data!.data_directory, 'server.crt'), readFileSync(renewed.certFile))
      writeFileSync(join(data!.data_directory, 'server.key'), readFileSync(renewed.keyFile))
      await ask(postgres.url, 'select pg_reload_conf()')
    }
    await put(true)
    const url = urlOf('lax', { sslmode: 'verify-full', sslrootcert: authority.caFile })
    await expect(connected(url)).rejects.toMatchObject({
      code: 'FB_DATABASE_TLS',
      message: expect.stringContaining('has expired; renew it') as string,
    })
    await put(false)
    // The pool was made when the authority's file held another: it is looked at again.
    const caFile = join(dir, 'rotating.pem')
    writeFileSync(caFile, readFileSync(stranger.caFile))
    await using pool = testPool(urlOf('lax', { sslmode: 'verify-full', sslrootcert: caFile }))
    const look = () => pool.use('looking', (connection) => connection.query('select 1'))
    await expect(look()).rejects.toMatchObject({ code: 'FB_DATABASE_TLS' })
    writeFileSync(caFile, 'half a cert')
    await expect(look()).rejects.toMatchObject({ code: 'FB_DATABASE_TLS' })
    writeFileSync(caFile, readFileSync(authority.caFile))
    expect((await look()).rowCount).toBe(1)
  })
})

function strangersPair(): Record<string, string> {
  const { certFile, keyFile } = stranger.issue('guarded')
  return { sslcert: certFile, sslkey: keyFile }
}

/** Of the superuser, who may come without TLS. */
function plainUrl(): string {
  const url = new URL(postgres.url)
  url.pathname = '/guarded'
  return url.href
}
