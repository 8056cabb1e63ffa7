/** One broker with a listener of each kind of security, and what a node says of each that it cannot pass. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BrokerLogin } from '../../src/events/broker-login.ts'
import { KafkaEventLog } from '../../src/events/kafka-event-log.ts'
import { KafkaTopicAdmin } from '../../src/events/kafka-topic-admin.ts'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'
import type { ServerHandle } from '../../src/launch/server.ts'
import type { TlsFiles } from '../../src/database/tls-identity.ts'
import { makeAuthority } from '../support/certificates.ts'
import type { Authority } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { createItemTables, differenceOf, floorsReachEnd, itemsPipeline, itemValues, noDifference, startNode } from '../support/live-node.ts'
import type { PublishedEvent } from '../support/live-node.ts'
import { createTestDatabase } from '../support/postgres-database.ts'
import { kafkaHarness } from '../ports/event-log-harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay-security-'))
const topic = 'guarded'
const brokerName = 'broker.test'
const tokenFile = join(dir, 'token')
const listenerNames = ['TLS', 'MUTUAL', 'EXPIRED', 'LOGIN', 'TOKEN'] as const
type ListenerName = (typeof listenerNames)[number]

let kafka: ServerHandle
let authority: Authority
let stranger: Authority
let trusting: TlsFiles
let known: TlsFiles
const ports = new Map<ListenerName, number>()
const published: PublishedEvent[] = []

beforeAll(async () => {
  authority = makeAuthority(dir, 'authority')
  stranger = makeAuthority(dir, 'stranger')
  const broker = authority.issue(brokerName)
  trusting = { caFile: authority.caFile, serverName: brokerName }
  known = { ...trusting, ...authority.issue('node') }
  const keys = (file: string) => ({ 'ssl.keystore.type': 'PEM', 'ssl.keystore.location': file })
  const own = keys(broker.bothFile)
  const client = { 'ssl.client.auth': 'required', 'ssl.truststore.type': 'PEM', 'ssl.truststore.location': authority.caFile }
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
  for (const name of listenerNames) ports.set(name, await freePort())
  const port = (name: ListenerName) => ports.get(name)!
  kafka = await startKafka({
    dir: join(dir, 'kafka'),
    jars: (await provisionJars(serversFolder)).kafka,
    heapMb: 384,
    scramUsers: [
      { mechanism: 'SCRAM-SHA-256', name: 'alice', password: 'alice-secret' },
      { mechanism: 'SCRAM-SHA-512', name: 'alice', password: 'alice-secret' },
    ],
    listeners: [
      { name: 'TLS', protocol: 'SSL', port: port('TLS'), settings: own },
      { name: 'MUTUAL', protocol: 'SSL', port: port('MUTUAL'), settings: { ...own, ...client } },
      {
        name: 'EXPIRED',
        protocol: 'SSL',
        port: port('EXPIRED'),
        settings: keys(authority.issue(brokerName, { isExpired: true }).bothFile),
      },
      {
        name: 'LOGIN',
        protocol: 'SASL_SSL',
        port: port('LOGIN'),
        settings: {
          ...own,
          'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
          'plain.sasl.jaas.config': 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret";',
          'scram-sha-256.sasl.jaas.config': scram,
          'scram-sha-512.sasl.jaas.config': scram,
        },
      },
      {
        name: 'TOKEN',
        protocol: 'SASL_PLAINTEXT',
        port: port('TOKEN'),
        settings: {
          'sasl.enabled.mechanisms': 'OAUTHBEARER',
          'oauthbearer.sasl.jaas.config':
            'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
          'oauthbearer.connections.max.reauth.ms': '3600000',
        },
      },
    ],
  })
  const harness = await kafkaHarness([kafka.address], topic)
  for (let partition = 0; partition < 2; partition++) {
    const values = itemValues(partition, 3)
    await harness.publish(partition, values, Date.now())
    published.push(...values.map((value, n) => ({ partition, offset: BigInt(n), value: Buffer.from(value) })))
  }
  await harness.stop()
}, 300_000)
afterAll(async () => {
  await kafka?.stop()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

interface Way {
  readonly tls?: TlsFiles
  readonly login?: BrokerLogin
}

const addressOf = (listener: ListenerName | 'PLAIN', way: Way) => ({
  brokers: [listener === 'PLAIN' ? kafka.address : `127.0.0.1:${ports.get(listener)}`],
  clientId: 'test',
  ...way,
})
const logOf = (listener: ListenerName | 'PLAIN', way: Way) =>
  new KafkaEventLog({ ...addressOf(listener, way), topic, pipelineGroup: 'group' })
const password = (mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512', secret = 'alice-secret'): BrokerLogin => ({
  mechanism,
  username: 'alice',
  password: secret,
})

/** A token as the broker's validator of unsigned tokens takes it. */
function writeToken(lifeMs: number): void {
  const part = (fields: object) => Buffer.from(JSON.stringify(fields)).toString('base64url')
  const now = Date.now() / 1000
  writeFileSync(tokenFile, `${part({ alg: 'none' })}.${part({ sub: 'node', iat: now - 60, exp: now + lifeMs / 1000 })}.\n`)
}

describe('A listener that is guarded', () => {
  it.each<[string, ListenerName, () => Way]>([
    ['TLS', 'TLS', () => ({ tls: trusting })],
    ['TLS with certificates on both sides', 'MUTUAL', () => ({ tls: known })],
    ['plain', 'LOGIN', () => ({ tls: trusting, login: password('plain') })],
    ['scram-sha-256', 'LOGIN', () => ({ tls: trusting, login: password('scram-sha-256') })],
    ['scram-sha-512', 'LOGIN', () => ({ tls: trusting, login: password('scram-sha-512') })],
    ['oauthbearer', 'TOKEN', () => ({ login: { mechanism: 'oauthbearer', tokenFile } })],
  ])('is read, asked and committed to with %s', async (_, listener, way) => {
    writeToken(60_000)
    await using log = logOf(listener, way())
    expect(await log.range(0)).toEqual({ startOffset: 0n, endOffset: 3n })
    const cursor = await log.open(0, 0n)
    expect((await cursor.poll(5_000)).events.map(({ offset }) => offset)).toEqual([0n, 1n, 2n])
    await log.commit(new Map([[0, 2n]]))
    await using admin = new KafkaTopicAdmin(addressOf(listener, way()), topic)
    expect((await admin.describe())?.partitions).toBe(4)
  })

  it('is read by a node', async () => {
    const database = await createTestDatabase()
    await createItemTables(database.url)
    const address = addressOf('LOGIN', { tls: trusting, login: password('scram-sha-512') })
    const events = { kind: 'kafka', ...address, group: undefined, fetchBytesMax: 1 << 20, inflatedBytesMax: 1 << 20 } as const
    const node = await startNode(itemsPipeline({ topic }), { url: database.url, events })
    await floorsReachEnd(database.url, published)
    expect(await differenceOf(database.url, published)).toEqual(noDifference)
    await node.stop()
    await database.drop()
  })

  it('is read on with a token that was written later', async () => {
    writeToken(5_000)
    const startedAt = Date.now()
    await using log = logOf('TOKEN', { login: { mechanism: 'oauthbearer', tokenFile } })
    const cursor = await log.open(0, 0n)
    expect((await cursor.poll(5_000)).events).toHaveLength(3)
    writeToken(3_600_000)
    while (Date.now() < startedAt + 6_000) expect((await cursor.poll(200)).events).toEqual([])
    cursor.seek(0n)
    expect((await cursor.poll(5_000)).events).toHaveLength(3)
  })

  it.each<[string, ListenerName | 'PLAIN', () => Way, RegExp]>([
    [
      'an authority that is not believed',
      'TLS',
      () => ({ tls: { ...trusting, caFile: stranger.caFile } }),
      /authority that is not believed.*events\.tls\.caFile/,
    ],
    [
      'the public authorities only',
      'TLS',
      () => ({ tls: { serverName: brokerName } }),
      /authority that is not believed.*events\.tls\.caFile/,
    ],
    ['another name', 'TLS', () => ({ tls: { caFile: authority.caFile } }), /for another name.*events\.tls\.serverName/],
    ['an expired certificate', 'EXPIRED', () => ({ tls: trusting }), /has expired; renew it/],
    ['no certificate of its own', 'MUTUAL', () => ({ tls: trusting }), /wants one and got none.*events\.tls\.certFile and keyFile/],
    [
      'a certificate of a stranger',
      'MUTUAL',
      () => ({ tls: { ...trusting, ...stranger.issue('node') } }),
      /does not accept this client’s certificate/,
    ],
    ['TLS on a plain port', 'PLAIN', () => ({ tls: trusting }), /does not speak TLS on this port; take away events\.tls/],
    ['no TLS on a TLS port', 'TLS', () => ({}), /speaks TLS on this port; give events\.tls/],
    [
      'a wrong password',
      'LOGIN',
      () => ({ tls: trusting, login: password('plain', 'wrong-word') }),
      /does not know this user or this password; correct events\.sasl/,
    ],
    [
      'a wrong SCRAM password',
      'LOGIN',
      () => ({ tls: trusting, login: password('scram-sha-512', 'wrong-word') }),
      /does not know this user or this password; correct events\.sasl/,
    ],
    [
      'a way to log in that is not offered',
      'TOKEN',
      () => ({ login: password('plain') }),
      /does not offer this way to log in.*events\.sasl\.mechanism/,
    ],
    ['a login where none is taken', 'PLAIN', () => ({ login: password('plain') }), /takes no login; take away events\.sasl/],
    [
      'no token',
      'TOKEN',
      () => ({ login: { mechanism: 'oauthbearer', tokenFile: join(dir, 'none') } }),
      /token file .*none cannot be read \(ENOENT\)/,
    ],
    ['an expired token', 'TOKEN', () => (writeToken(-1_000), { login: { mechanism: 'oauthbearer', tokenFile } }), /expired at 20/],
    [
      'a token that means nothing',
      'TOKEN',
      () => (writeFileSync(tokenFile, 'abc.def'), { login: { mechanism: 'oauthbearer', tokenFile } }),
      /does not take the token in .*token \(invalid_token\)/,
    ],
  ])('says so to %s', async (_, listener, way, sentence) => {
    await using log = logOf(listener, way())
    const refusal = await log.identity().catch((error: unknown) => error)
    expect(refusal).toMatchObject({ code: 'FB_EVENT_LOG_LOGIN', message: expect.stringMatching(sentence) as string })
    expect(String(refusal)).not.toContain('wrong-word')
    const cursor = await log.open(0, 0n)
    const failed = async () => {
      for (;;) await cursor.poll(100)
    }
    await expect(failed()).rejects.toMatchObject({ code: 'FB_EVENT_LOG_LOGIN' })
    await using admin = new KafkaTopicAdmin(addressOf(listener, way()), topic)
    await expect(admin.describe()).rejects.toMatchObject({ code: 'FB_EVENT_LOG_LOGIN' })
  })
})
