import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { databaseConnection } from '../../src/database/database-url.ts'
import { loadConfig } from '../../src/config/config.ts'
import { settingsOf } from '../../src/config/settings-of.ts'
import { makeAuthority } from '../support/certificates.ts'
import type { Certificate } from '../support/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'forebay-config-tls-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let own: Certificate
let other: Certificate
let caFile: string
beforeAll(() => {
  const authority = makeAuthority(folder, 'authority')
  caFile = authority.caFile
  own = authority.issue('own')
  other = authority.issue('other')
  const expired = authority.issue('old', { isExpired: true })
  const copies = { 'old.pem': expired.certFile, 'old.key': expired.keyFile }
  for (const [name, path] of Object.entries(copies)) execFileSync('cp', [path, join(folder, name)])
  execFileSync('openssl', ['pkey', '-in', own.keyFile, '-aes256', '-passout', 'pass:word', '-out', join(folder, 'locked.key')])
  execFileSync('openssl', ['x509', '-in', caFile, '-outform', 'DER', '-out', join(folder, 'ca.der')])
  writeFileSync(join(folder, 'damaged.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
  writeFileSync(join(folder, 'token'), 'a.b.c\n', { mode: 0o600 })
  execFileSync('cp', [own.keyFile, join(folder, 'open.key')])
  chmodSync(join(folder, 'open.key'), 0o644)
}, 60_000)

const env = { FOREBAY_DATABASE_URL: 'postgres://me@127.0.0.1/x' }
const kafka = (more: string) => `pipeline: p.ts\nevents:\n  brokers: [a:1]\n${more}`
const client = (more: string) => `pipeline: p.ts\nevents: { kind: postgres }\ngrid:\n  mode: client\n  members: [127.0.0.1:1]\n${more}`

function load(text: string, environment: NodeJS.ProcessEnv = env) {
  const file = join(folder, 'c.yaml')
  writeFileSync(file, text)
  return loadConfig(file, environment)
}

function refusalOf(text: string, environment: NodeJS.ProcessEnv = env): string {
  try {
    load(text, environment)
  } catch (error) {
    return (error as Error).message.replaceAll(`${folder}/`, '')
  }
  return ''
}

describe('TLS in a configuration', () => {
  it('is read into paths and names, for brokers and members', () => {
    const { certFile, keyFile } = own
    const section = `tls: { caFile: authority/ca.pem, certFile: ${certFile}, keyFile: ${keyFile}, serverName: n }\n`
    const found = { caFile, certFile, keyFile, serverName: 'n' }
    expect(settingsOf(load(kafka(`  ${section}`))).events).toMatchObject({ tls: found, login: undefined })
    expect(settingsOf(load(kafka('  tls: {}\n'))).events).toMatchObject({ tls: { caFile: undefined } })
    // All of it commented out: it is wanted all the same.
    expect(settingsOf(load(kafka('  tls:\n  #  caFile: x\n'))).events).toMatchObject({ tls: { caFile: undefined } })
    expect(settingsOf(load(kafka(''))).events).toMatchObject({ tls: undefined })
    expect(settingsOf(load(client(`  ${section}`))).grid.tls).toEqual(found)
  })

  it.each<[string, () => string, string]>([
    ['a file that is not there', () => '{ caFile: none.pem }', 'c.yaml:4: events.tls.caFile: none.pem cannot be read (ENOENT)'],
    ['a folder', () => '{ caFile: authority }', 'c.yaml:4: events.tls.caFile: authority cannot be read (EISDIR)'],
    ['DER', () => '{ caFile: ca.der }', 'ca.der holds no certificate in PEM (-----BEGIN CERTIFICATE-----); convert it with openssl x509'],
    ['a damaged certificate', () => '{ caFile: damaged.pem }', 'certificate 1 of damaged.pem is damaged'],
    [
      'a certificate without key',
      () => `{ certFile: ${own.certFile} }`,
      'events.tls.keyFile: is missing; a certificate is of no use without its key',
    ],
    [
      'a key without certificate',
      () => `{ keyFile: ${own.keyFile} }`,
      'events.tls.certFile: is missing; a key is of no use without its certificate',
    ],
    ['the key of another', () => `{ certFile: ${own.certFile}, keyFile: ${other.keyFile} }`, 'is not the key of the certificate in'],
    ['a certificate for a key', () => `{ certFile: ${own.certFile}, keyFile: ${own.certFile} }`, 'holds no private key in PEM'],
    [
      'a locked key',
      () => `{ certFile: ${own.certFile}, keyFile: locked.key }`,
      'locked.key is encrypted; give a key without a passphrase',
    ],
    ['an unknown key', () => '{ ca: x }', 'events.tls.ca: unknown key'],
  ])('is refused with %s', (_, section, sentence) => {
    expect(refusalOf(kafka(`  tls: ${section()}\n`))).toContain(sentence)
  })

  it('is warned of with an expired certificate and with a key that others may read', () => {
    const { warnings } = load(kafka(`  tls: { certFile: old.pem, keyFile: old.key }\n`))
    expect(warnings.join()).toMatch(/events\.tls\.certFile: certificate 1 of .*old\.pem expired on Feb {2}1 00:00:00 2020 GMT; renew it/)
    const open = load(kafka(`  tls: { certFile: ${own.certFile}, keyFile: open.key }\n`)).warnings
    expect(open.join()).toMatch(/events\.tls\.keyFile: others may read .*open\.key; run chmod 600 on it/)
  })

  it('is of no use where nothing speaks it', () => {
    expect(refusalOf('pipeline: p.ts\nevents: { kind: postgres, tls: {} }\n')).toContain(
      'events.tls: is of no use with events.kind postgres',
    )
    expect(refusalOf('pipeline: p.ts\nevents: { kind: postgres }\ngrid: { tls: {} }\n')).toContain(
      'grid.tls: is of no use with grid.mode local; leave it out, or choose client',
    )
  })
})

describe('A login with a token', () => {
  it('needs its file, and nothing else', () => {
    const sasl = (more: string) => kafka(`  tls: {}\n  sasl: { mechanism: oauthbearer${more} }\n`)
    expect(settingsOf(load(sasl(', tokenFile: token'))).events).toMatchObject({
      login: { mechanism: 'oauthbearer', tokenFile: join(folder, 'token') },
    })
    expect(refusalOf(sasl(''))).toContain('events.sasl.tokenFile: is missing')
    expect(refusalOf(sasl(', tokenFile: nowhere'))).toContain('events.sasl.tokenFile: nowhere cannot be read (ENOENT)')
    expect(refusalOf(sasl(', tokenFile: token, username: u'))).toContain(
      'events.sasl.username: is of no use with events.sasl.mechanism oauthbearer',
    )
    expect(
      refusalOf(kafka('  sasl: { mechanism: plain, username: u, tokenFile: token }\n'), { ...env, FOREBAY_EVENTS_PASSWORD: 'p' }),
    ).toContain('events.sasl.tokenFile: is of no use with events.sasl.mechanism plain')
  })
})

describe('TLS in the URL of the database', () => {
  const least = 'pipeline: p.ts\nevents: { kind: postgres }\n'
  const withUrl = (query: string) => ({ FOREBAY_DATABASE_URL: `postgres://me@h/x?${query}` })

  it.each<[string, string]>([
    ['sslmode=prefer', 'sslmode=prefer would take a plain connection without a word where TLS fails; write one of disable, require'],
    ['sslmode=allow', 'sslmode=allow would take a plain connection'],
    ['sslmode=no-verify', 'sslmode=no-verify means nothing'],
    ['sslmode=verify-full', 'against whose is not said; add sslrootcert=FILE, or sslrootcert=system'],
    ['sslmode=verify-ca', 'against whose is not said; add sslrootcert=FILE'],
    ['sslmode=require&sslrootcert=system', 'write sslmode=verify-full'],
    ['sslrootcert=authority/ca.pem', 'sslrootcert is of no use without sslmode; add sslmode=verify-full'],
    ['sslmode=verify-full&sslrootcert=none.pem', 'sslrootcert: none.pem cannot be read (ENOENT)'],
    ['sslmode=require&sslcert=old.pem', 'sslkey: is missing; a certificate is of no use without its key'],
    ['sslmode=require&sslcrl=x', 'sslcrl is not known to forebay, and passing over it could trust whom it should not'],
    ['ssl=true', 'ssl is not known to forebay'],
    ['channel_binding=require', 'channel_binding is not known to forebay'],
  ])('is refused with %s', (query, sentence) => {
    expect(refusalOf(least, withUrl(query))).toContain(sentence)
  })

  it('takes files relative to the configuration', () => {
    const { database } = settingsOf(load(least, withUrl('sslmode=verify-full&sslrootcert=authority/ca.pem&application_name=a')))
    expect(new URL(database.url).searchParams.get('sslrootcert')).toBe(caFile)
    const { connectionString, ssl } = databaseConnection(database.url, {})
    expect(connectionString).toBe('postgres://me@h/x?application_name=a')
    expect(Object.keys(ssl)).toEqual(['secureContext'])
  })

  it('is that of the environment where the URL says nothing, as with libpq', () => {
    expect(databaseConnection('postgres://h/x', {}).ssl).toBe(false)
    expect(databaseConnection('postgres://h/x?sslmode=disable', { PGSSLMODE: 'require' }).ssl).toBe(false)
    expect(databaseConnection('postgres://h/x', { PGSSLMODE: 'require' }).ssl).toMatchObject({ rejectUnauthorized: false })
    const verified = databaseConnection('postgres://h/x', { PGSSLMODE: 'verify-full', PGSSLROOTCERT: caFile }).ssl
    expect(Object.keys(verified)).toEqual(['secureContext'])
  })
})
