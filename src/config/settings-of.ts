import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { withAbsoluteFiles } from '../database/database-url.ts'
import type { BrokerLogin } from '../events/broker-login.ts'
import type { WantedTopic } from '../events/topic-settings.ts'
import type { Config } from './config.ts'
import type { ConfigValues } from './config-schema.ts'
import { tlsFilesOf } from './config-tls.ts'
import type { EventSettings, GridSettings, NodeSettings } from './settings.ts'

const mebibyte = 1024 * 1024
const ownConfigFile = fileURLToPath(new URL('../../config/hazelcast.yaml', import.meta.url))

/** What a node needs to know, out of its configuration. Secrets are revealed here and nowhere else. */
export function settingsOf({ values, secrets, folder }: Config): NodeSettings {
  const { node, events, database, tasks, tasksOnly, log } = values
  return {
    node: {
      name: node.name ?? `${hostname()}-${process.pid}`,
      host: node.host,
      port: node.port,
      advertise: node.advertise,
      allowedHosts: node.allowedHosts,
      clientsMax: node.clientsMax,
      clientsPerAddressMax: node.clientsPerAddressMax,
      probePort: node.probePort,
      token: secrets.nodeToken?.reveal(),
      isOpen: node.open,
      tls: secrets.nodeTls,
      hangTimeoutMs: node.hangTimeout,
    },
    events: eventSettings(events, folder, secrets.eventsPassword?.reveal()),
    topic: wantedTopic(events.topic),
    eventBytesMax: events.eventBytesMax,
    startAt: events.startAt,
    database: {
      url: withAbsoluteFiles(secrets.databaseUrl.reveal(), folder),
      poolMax: database.poolMax,
      statementTimeoutMs: database.statementTimeout,
      lockTimeoutMs: database.lockTimeout,
      synchronousCommit: database.synchronousCommit,
      resolvedLettersKeptMs: database.resolvedLettersKept,
    },
    grid: gridSettings(values.grid, folder, secrets.gridSecret?.reveal()),
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, task]) => [name, overrideOf(task)])),
    tasksOnly,
    logLevel: log.level,
  }
}

function eventSettings(events: ConfigValues['events'], folder: string, password: string | undefined): EventSettings {
  const { kind, brokers, clientId, group, fetchBytesMax, inflatedBytesMax, tls, sasl } = events
  if (kind === 'postgres') return { kind, fetchBytesMax }
  const connection = { brokers, clientId, tls: tlsFilesOf(tls, folder), login: loginOf(sasl, folder, password) }
  return { kind, ...connection, group, fetchBytesMax, inflatedBytesMax }
}

function loginOf(sasl: ConfigValues['events']['sasl'], folder: string, password: string | undefined): BrokerLogin | undefined {
  if (sasl === undefined) return undefined
  const { mechanism, username, tokenFile } = sasl
  if (mechanism === 'oauthbearer') return tokenFile === undefined ? undefined : { mechanism, tokenFile: resolve(folder, tokenFile) }
  return username === undefined || password === undefined ? undefined : { mechanism, username, password }
}

function wantedTopic({ partitions, replication, minInsyncReplicas, replayWindow }: ConfigValues['events']['topic']): WantedTopic {
  return { partitions, replication, minInsyncReplicas, replayWindowMs: replayWindow }
}

function gridSettings(grid: ConfigValues['grid'], folder: string, secret: string | undefined): GridSettings {
  const { linger, beat, lease, memberHeap, member, tls, secretFile: _, ...same } = grid
  const own = {
    name: `member-${member.port}`,
    address: `${member.host}:${member.port}`,
    dir: resolve(folder, member.dir),
    jars: (member.classPath ?? '')
      .split(':')
      .map((part) => resolve(folder, part))
      .join(':'),
    configFile: member.configFile === undefined ? ownConfigFile : resolve(folder, member.configFile),
  }
  return {
    ...same,
    secret,
    tls: tlsFilesOf(tls, folder),
    lingerMs: linger,
    memberHeapMb: Math.floor(memberHeap / mebibyte),
    beatMs: beat,
    leaseMs: lease,
    member: grid.mode === 'embedded' ? own : undefined,
  }
}

type Override = ConfigValues['tasks'][string]

/** Only what is said: an absent override must not hide the pipeline's own value. */
function overrideOf({ every, rowsMax, bytesMax }: Override): NodeSettings['tasks'][string] {
  return {
    ...(every === undefined ? {} : { everyMs: every }),
    ...(rowsMax === undefined ? {} : { rowsMax }),
    ...(bytesMax === undefined ? {} : { bytesMax }),
  }
}
