/**
 * The one schema of the configuration file. Everything else that knows a key (messages, the documented preset, `check-config`)
 * takes it from here.
 *
 * Durations become milliseconds, sizes become bytes. Every key is read once, at start.
 */
import * as z from 'zod'
import { parseTime } from '../events/log-point.ts'
import { durationText, parseDuration } from '../text/units.ts'
import { duration, durationWithout, measured, optional, section, size, sizeWithout, withDefault } from './config-keys.ts'

const hostPort = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, 'expected host:port, such as 127.0.0.1:9092')
const nodeName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'expected letters, digits, dots, dashes and underscores, at most 63')
const plainName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/, 'expected letters, digits, dots, dashes and underscores')
const hostName = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)$/, 'expected the name of a host without port, such as forebay.example')
const advertised = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/, 'expected host or host:port, such as node-1.internal:8080')
const portNumber = z.int().min(0).max(65535)
const path = z.string().min(1, 'expected a path')
const mechanisms = ['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer'] as const

const node = section('The node itself.', {
  name: optional(nodeName, {
    description: 'Name of the node in logs, metrics and the grid. Default: host name and process id.',
    example: 'node-1',
    env: 'FOREBAY_NODE_NAME',
  }),
  host: withDefault(z.string().min(1), '127.0.0.1', {
    description:
      'Address the status page, metrics and WebSocket listen on. The default is reachable from this machine only; any other needs tokenFile, or open.',
    env: 'FOREBAY_NODE_HOST',
  }),
  port: withDefault(portNumber, 8080, { description: 'Port of the same; 0 takes any free one.', env: 'FOREBAY_NODE_PORT' }),
  probePort: optional(portNumber, {
    description:
      'Port of /healthz and /readyz alone, over plain HTTP without token: no crowd at the other port can make the node look dead. Left out: none.',
    example: 8090,
    env: 'FOREBAY_NODE_PROBE_PORT',
  }),
  tokenFile: optional(path, {
    description:
      'File whose first line is the token (16 characters or more) that others must send as `Authorization: Bearer`; or FOREBAY_NODE_TOKEN. Where node.host is not loopback it is asked for everywhere but at /healthz and /readyz; lines of jobs (/queues/…?jobs=) are shown to nobody without it.',
    example: 'secrets/node-token',
    env: 'FOREBAY_NODE_TOKEN_FILE',
  }),
  open: withDefault(
    z.boolean(),
    false,
    'Whether anybody who reaches node.host may look without a token. For a network in which everybody is trusted.',
  ),
  tls: z
    .strictObject({
      certFile: z
        .string()
        .min(1, 'expected a path')
        .meta({ description: 'Certificate of the node and those between it and its authority, in PEM.', example: 'secrets/node.crt' }),
      keyFile: z.string().min(1, 'expected a path').meta({ description: 'Its private key, in PEM.', example: 'secrets/node.key' }),
      caFile: optional(path, {
        description:
          'Authority by which commands know the nodes, in PEM. Left out: those that Node.js knows, and the certificate of certFile itself.',
        example: 'secrets/ca.crt',
      }),
    })
    .optional()
    .meta({ description: 'Serve https and wss. Left out: plain HTTP.', example: {} }),
  advertise: optional(advertised, {
    description:
      'Host, or host:port, under which other machines reach these pages: what the node tells the other nodes and the commands. Default: node.host, or the name of this machine when node.host is 0.0.0.0.',
    example: 'node-1.internal',
    env: 'FOREBAY_NODE_ADVERTISE',
  }),
  allowedHosts: withDefault(z.array(hostName), [], {
    description:
      'Names under which browsers, probes and Prometheus may reach the node, besides IP addresses, localhost, node.host and node.advertise; and whose pages may connect to its WebSockets.',
    example: ['forebay.example'],
  }),
  clientsMax: withDefault(z.int().min(0).max(100_000), 1000, 'WebSocket clients over all channels; further ones are answered with 503.'),
  clientsPerAddressMax: withDefault(
    z.int().min(0).max(100_000),
    250,
    'The same of one address (of IPv6 the first 64 bits); further ones are answered with 429. X-Forwarded-For is never believed: all clients of a proxy are one address.',
  ),
  drain: duration(
    '10s',
    { min: '0ms', max: '10m' },
    'How long a clean stop may take until the process leaves anyway. Nothing is lost by leaving: others go on from the watermarks.',
  ),
  hangTimeout: duration(
    '30s',
    { min: '0ms', max: '1h' },
    'How long the process may stand still, in an endless loop of a convert say, until a thread beside it ends it, having said which event it was in. Where events are converted apart because they ended processes, one may take a third of it. 0ms: never.',
  ),
})

const eventsTls = tlsSection(
  'TLS with the brokers. `tls: {}` alone believes the authorities that Node.js believes. Files are PEM, and read again at each new connection.',
  'brokers',
)

const sasl = z
  .strictObject({
    mechanism: withDefault(z.enum(mechanisms), 'scram-sha-512', `How to log in: ${mechanisms.join(', ')}.`),
    username: optional(z.string().min(1), { description: 'Who logs in (not with oauthbearer).', example: 'forebay' }),
    passwordFile: optional(path, {
      description: 'File with the password; or FOREBAY_EVENTS_PASSWORD (not with oauthbearer).',
      example: 'secrets/kafka-password',
    }),
    tokenFile: optional(path, {
      description: 'File with the bearer token (oauthbearer). Read again at each login, which brokers ask for before a token expires.',
      example: 'secrets/kafka-token',
    }),
  })
  .optional()
  .meta({ description: 'Login at the brokers. Left out: none.', example: {} })

const topic = section(
  'How the topic is to be set up: forebay topics verify compares, forebay topics apply changes, and start refuses a topic that differs.',
  {
    partitions: optional(z.int().min(1).max(100_000), { description: 'Partitions. Left out: as many as it has.', example: 4 }),
    replication: optional(z.int().min(1).max(100), {
      description: 'Brokers that hold each partition (Kafka). Left out: not compared.',
      example: 3,
    }),
    minInsyncReplicas: optional(z.int().min(1).max(100), {
      description: 'Brokers that must have an event before it counts as published (Kafka). Left out: not compared.',
      example: 2,
    }),
    replayWindow: optional(measured(parseDuration, durationText, { min: '1m', max: '100000h' }), {
      description:
        'How long events must stay in the log: how far back a replay may reach, and how long the database may be away. Left out: not compared.',
      example: '72h',
    }),
  },
)

const events = section('The event log: where events come from.', {
  kind: withDefault(z.enum(['kafka', 'postgres']), 'kafka', 'kafka, or postgres: a log that forebay keeps in the database by itself.'),
  brokers: withDefault(z.array(hostPort), [], {
    description: 'Kafka brokers to begin with, as host:port.',
    env: 'FOREBAY_EVENTS_BROKERS',
    example: ['127.0.0.1:9092'],
  }),
  clientId: withDefault(plainName, 'forebay', 'How the node calls itself at the brokers.'),
  group: optional(plainName, {
    description: 'Consumer group whose committed offsets show the floors to lag tools. Default: the name of the pipeline.',
    example: 'stock-ticks',
  }),
  fetchBytesMax: size('4MiB', { min: '64KiB', max: '64MiB' }, 'Bytes of one fetch from a partition. More is faster, and ticks less even.'),
  inflatedBytesMax: size(
    '2MiB',
    { min: '64KiB', max: '64MiB' },
    'Bytes of events made of a fetch at a time; more follow when they are done.',
  ),
  eventBytesMax: size('1MiB', { min: '1KiB', max: '64MiB' }, 'A larger event becomes a dead letter; key and headers may have 64KiB more.'),
  startAt: withDefault(
    z.unknown().transform(startTime),
    'earliest',
    'Where the very first start of a pipeline begins: earliest, latest, or a time such as 2026-01-31T09:30:00Z. Later starts go on from the watermarks.',
  ),
  topic,
  tls: eventsTls,
  sasl,
})

const database = section('The database of the tables and of the ledger (schema forebay).', {
  url: optional(z.string().regex(/^postgres(ql)?:\/\//, 'expected a URL that begins with postgres://'), {
    description:
      'Where it is, without password. One with a password belongs into urlFile or FOREBAY_DATABASE_URL, which wins over both. TLS as libpq writes it: ?sslmode=require, verify-ca or verify-full, with sslrootcert (a file, or system), sslcert and sslkey.',
    example: 'postgres://forebay@127.0.0.1:5432/forebay',
  }),
  urlFile: optional(path, { description: 'File whose first line is the URL with its password.', example: 'secrets/database-url' }),
  poolMax: withDefault(z.int().min(2).max(200), 8, 'Connections of one node at most.'),
  statementTimeout: duration('30s', { min: '100ms', max: '1h' }, 'Longest single statement; longer ones are cancelled and tried again.'),
  lockTimeout: duration('10s', { min: '10ms', max: '1h' }, 'Longest wait for a lock.'),
  synchronousCommit: withDefault(
    z.enum(['on', 'off']),
    'on',
    'off commits faster. Nothing is lost: what a crash of the database forgets is made again; until then readers of a table may see rows vanish.',
  ),
  resolvedLettersKept: duration(
    '720h',
    { min: '1h', max: '87600h' },
    'How long redriven and discarded dead letters stay. Discarded ones stay in any case while the log has their event; open ones for ever.',
  ),
})

const member = section('The Hazelcast member beside the node (mode embedded).', {
  host: withDefault(
    z.string().min(1),
    '127.0.0.1',
    'IP address the member listens on. It has no authentication: only ever a private network.',
  ),
  port: withDefault(portNumber.min(1), 5701, 'Port of the member.'),
  dir: withDefault(path, '.forebay/member', 'Folder of its log and pid file. A node started again adopts the member it finds there.'),
  classPath: optional(z.string().min(1), {
    description: 'Java class path with the jar of Hazelcast 5.7. Needed in mode embedded.',
    example: '.servers/hazelcast/*',
  }),
  configFile: optional(path, {
    description: 'The member’s own configuration. Default: the hazelcast.yaml that comes with forebay.',
    example: 'hazelcast.yaml',
  }),
})

const grid = section('The grid of job queues. What tunes it is said here once; hazelcast.yaml takes it by substitution.', {
  tls: tlsSection(
    'TLS with the members (mode client). A feature of Hazelcast Enterprise: members of the community edition speak none.',
    'members',
  ),
  mode: withDefault(z.enum(['local', 'embedded', 'client']), 'local', {
    description:
      'local: in this process, for a single node. embedded: the node runs a Hazelcast member beside itself. client: a Hazelcast cluster that others run.',
    env: 'FOREBAY_GRID_MODE',
  }),
  clusterName: withDefault(plainName, 'forebay', 'Name of the Hazelcast cluster.'),
  members: withDefault(z.array(hostPort), [], {
    description: 'All members as host:port (modes embedded and client).',
    env: 'FOREBAY_GRID_MEMBERS',
    example: ['127.0.0.1:5701'],
  }),
  secretFile: optional(path, {
    description:
      'File with the key that signs segments and latest values; or FOREBAY_GRID_SECRET. Left out: they are guarded against damage, not against forgery.',
    example: 'secrets/grid-secret',
    env: 'FOREBAY_GRID_SECRET_FILE',
  }),
  open: withDefault(
    z.boolean(),
    false,
    'Whether members that other machines reach may do without secretFile. For a network in which everybody is trusted.',
  ),
  queues: withDefault(
    z.int().min(1).max(64),
    2,
    'Queues of each source partition. Part of the routing: a node with another number waits for `forebay routing apply`.',
  ),
  capacity: withDefault(
    z.int().min(20).max(100_000),
    144,
    'Segments a ring holds. Its window, (capacity - 16) / 2, is how many may wait for the database before reading stops.',
  ),
  segmentBytesMax: size('128KiB', { min: '96KiB', max: '8MiB' }, 'Bytes of one segment; a dead letter must fit into one.'),
  linger: duration('5ms', { min: '0ms', max: '1s' }, 'How long jobs wait for company before their segment is sent.'),
  backups: withDefault(
    z.int().min(0).max(6),
    1,
    'Copies of each ring on other members. 1 survives the loss of any one member; with 0 such a loss is repaired from the event log.',
  ),
  memberHeap: size('512MiB', { min: '128MiB', max: '256GiB' }, 'Heap of each member’s JVM. Start refuses when full rings would not fit.'),
  beat: duration('300ms', { min: '50ms', max: '10s' }, 'How often a node says that it lives.'),
  lease: duration(
    '1200ms',
    { min: '200ms', max: '60s' },
    'How long a silent node keeps its partitions and queues; at least twice the beat.',
  ),
  member,
})

const taskOverride = z.strictObject({
  every: durationWithout({ min: '1ms', max: '24h' }, 'Longest wait of a job for its flush.', '15ms').optional(),
  rowsMax: optional(z.int().min(1), { description: 'Flush early at this many jobs.', example: 50_000 }),
  bytesMax: sizeWithout({ min: '1KiB', max: '1GiB' }, 'Flush early at this many bytes of jobs.', '8MiB').optional(),
})

export const configSchema = z.strictObject({
  pipeline: z
    .string({ error: 'expected the path of a pipeline module' })
    .min(1)
    .meta({ description: 'The pipeline module (.ts or .js), relative to this file.', example: '../examples/stock-ticks/pipeline.ts' }),
  tasksOnly: optional(z.array(z.string()).min(1), { description: 'Run only these tasks of the pipeline.', example: ['storeTrade'] }),
  node,
  events,
  database,
  grid,
  tasks: z
    .record(z.string(), taskOverride)
    .prefault({})
    .meta({
      description: 'Overrides of what the pipeline says, by task.',
      example: { storeTrade: { every: '15ms', rowsMax: 50_000, bytesMax: '8MiB' } },
    }),
  log: section('Logs: one line of JSON an event, on stderr.', {
    level: withDefault(z.enum(['debug', 'info', 'warn', 'error', 'silent']), 'info', {
      description: 'The least that is logged: debug, info, warn, error or silent.',
      env: 'FOREBAY_LOG_LEVEL',
    }),
  }),
})

/** The configuration file as values: durations in milliseconds, sizes in bytes, defaults filled in. */
export type ConfigValues = z.output<typeof configSchema>

function startTime(written: unknown, context: z.RefinementCtx): 'earliest' | 'latest' | number {
  if (written === 'earliest' || written === 'latest') return written
  const timeMs = typeof written === 'string' ? parseTime(written) : undefined
  if (timeMs === undefined)
    context.addIssue({ code: 'custom', message: 'expected earliest, latest or a time with its zone, such as 2026-01-31T09:30:00Z' })
  return timeMs ?? Number.NaN
}

function tlsSection(description: string, servers: string) {
  return z
    .strictObject({
      caFile: optional(path, {
        description: 'Certificates of the authorities to believe. Left out: those that Node.js believes.',
        example: 'secrets/ca.pem',
      }),
      certFile: optional(path, {
        description: `The node’s own certificate, with what lies between it and its authority, where the ${servers} want one.`,
        example: 'secrets/node.pem',
      }),
      keyFile: optional(path, { description: 'Its key, without a passphrase; readable by its owner only.', example: 'secrets/node.key' }),
      serverName: optional(z.string().min(1), {
        description: `Name that the certificates of the ${servers} carry. Left out: the host that is connected to.`,
        example: `${servers}.example`,
      }),
    })
    .optional()
    .meta({ description, example: {} })
}
