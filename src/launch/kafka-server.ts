/** A single Kafka broker in KRaft mode on loopback, with the settings of config/kafka.properties. */
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { ForebayError } from '../errors.ts'
import { isListening, withPorts } from './free-port.ts'
import { packageRoot } from './package-root.ts'
import { runProgram } from './run-program.ts'
import { type ServerHandle, startServer } from './server.ts'

export interface KafkaOptions {
  /** Data, settings and log of the broker; kept between runs. */
  readonly dir: string
  /** Port of 127.0.0.1; by default the one of the last run, else a free one. */
  readonly port?: number | undefined
  /** Java class path, see `provisionJars`. */
  readonly jars: string
  /** Default `kafka`. */
  readonly name?: string
  readonly pids?: string | undefined
  /** More settings, replacing those of config/kafka.properties. */
  readonly settings?: Readonly<Record<string, string>>
  /** Listeners beside the plain one. Default none. */
  readonly listeners?: readonly KafkaListener[]
  /** Users that SCRAM listeners know, of a log folder that is made now. Default none. */
  readonly scramUsers?: readonly { readonly mechanism: string; readonly name: string; readonly password: string }[]
  /** Heap of the broker in MiB, default 512. */
  readonly heapMb?: number
}

/** One more port of the broker, with a security of its own. */
export interface KafkaListener {
  /** In capitals, such as `TOKEN`. */
  readonly name: string
  readonly protocol: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'
  /** Port of 127.0.0.1. */
  readonly port: number
  /** Broker settings of this listener only, without their `listener.name.` prefix. */
  readonly settings?: Readonly<Record<string, string>>
}

/** Formats the log folder the first time, starts the broker and waits until it answers. Throws FB_SERVER_START. */
export async function startKafka(options: KafkaOptions): Promise<ServerHandle> {
  const { dir } = options
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return withPorts(join(dir, 'ports.json'), [options.port, undefined], ([port, controllerPort]) => startOn(options, port!, controllerPort!))
}

async function startOn(options: KafkaOptions, port: number, controllerPort: number): Promise<ServerHandle> {
  const { dir, jars, name = 'kafka', heapMb = 512 } = options
  const address = `127.0.0.1:${port}`
  const data = join(dir, 'data')
  const properties = join(dir, 'server.properties')
  const settings = {
    ...listenerSettings(options.listeners ?? [], address, controllerPort),
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'log.dirs': data,
    ...options.settings,
  }
  writeFileSync(properties, replaceProperties(readFileSync(join(packageRoot, 'config', 'kafka.properties'), 'utf8'), settings), {
    mode: 0o600,
  })
  const java = [
    '-cp',
    jars,
    '-Dorg.slf4j.simpleLogger.showDateTime=true',
    '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  ]
  if (!existsSync(join(data, 'meta.properties')))
    await format([...java, 'kafka.tools.StorageTool', 'format', '-t', clusterId(dir), '-c', properties, '-g', ...scramArgs(options)])
  return startServer({
    name,
    role: 'kafka',
    address,
    command: 'java',
    args: [
      `-Xmx${heapMb}m`,
      `-Xms${Math.min(heapMb, 256)}m`,
      '-XX:+UseG1GC',
      '-XX:-UsePerfData',
      '-Djava.awt.headless=true',
      ...java,
      'kafka.Kafka',
      properties,
    ],
    cwd: dir,
    logFile: join(dir, 'kafka.log'),
    pids: options.pids,
    isReady: async () => (await isListening(port)) && (await answers(address)),
    readyMs: 90_000,
    stopSignal: 'SIGTERM',
    stopMs: 30_000,
  })
}

function listenerSettings(more: readonly KafkaListener[], address: string, controllerPort: number): Record<string, string> {
  const advertised = [`PLAINTEXT://${address}`, ...more.map(({ name, port }) => `${name}://127.0.0.1:${port}`)]
  const protocols = ['PLAINTEXT:PLAINTEXT', 'CONTROLLER:PLAINTEXT', ...more.map(({ name, protocol }) => `${name}:${protocol}`)]
  const own = more.flatMap(({ name, settings = {} }) =>
    Object.entries(settings).map(([key, value]) => [`listener.name.${name.toLowerCase()}.${key}`, value] as const),
  )
  return {
    listeners: [...advertised, `CONTROLLER://127.0.0.1:${controllerPort}`].join(','),
    'advertised.listeners': advertised.join(','),
    'listener.security.protocol.map': protocols.join(','),
    ...Object.fromEntries(own),
  }
}

function scramArgs({ scramUsers = [] }: KafkaOptions): string[] {
  return scramUsers.flatMap(({ mechanism, name, password }) => ['--add-scram', `${mechanism}=[name=${name},password=${password}]`])
}

/** Whether the broker has joined its own cluster: its port opens a little earlier. */
async function answers(address: string): Promise<boolean> {
  const admin = new Kafka({
    brokers: [address],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1000,
    requestTimeout: 3000,
    retry: { retries: 0 },
  }).admin()
  try {
    await admin.connect()
    return (await admin.describeCluster()).brokers.length > 0
  } finally {
    await admin.disconnect()
  }
}

async function format(args: readonly string[]): Promise<void> {
  const result = await runProgram('java', ['-Xmx128m', '-XX:TieredStopAtLevel=1', ...args])
  if (result.exitCode !== 0)
    throw new ForebayError(
      'FB_SERVER_START',
      `The log folder of Kafka could not be formatted (exit code ${result.exitCode}):\n${result.output.slice(-2000)}`,
    )
}

/** The id of the cluster, chosen once. */
function clusterId(dir: string): string {
  const file = join(dir, 'cluster-id')
  if (!existsSync(file)) writeFileSync(file, newClusterId(), { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}

/** 16 random bytes in base64 of file names, as Kafka writes them; never with a dash in front, which its tools take for an option. */
export function newClusterId(): string {
  for (;;) {
    const id = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

/** `text` (a Java properties file) with `settings` in place of its own lines for the same keys, new ones at the end. */
export function replaceProperties(text: string, settings: Readonly<Record<string, string>>): string {
  const kept = text.split('\n').filter((line) => {
    const key = /^\s*([^#!=:\s]+)\s*[=:]/.exec(line)?.[1]
    return key === undefined || !Object.hasOwn(settings, key)
  })
  const added = Object.entries(settings).map(([key, value]) => `${key}=${escapeProperty(value)}`)
  return `${kept.join('\n').trimEnd()}\n\n${added.join('\n')}\n`
}

/** In a properties file a backslash escapes, and only ISO 8859-1 is safe to write as it is. */
function escapeProperty(value: string): string {
  return value.replaceAll('\\', '\\\\').replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
