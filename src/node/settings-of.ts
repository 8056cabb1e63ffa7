import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { WantedTopic } from '../events/topic-settings.ts'
import type { Config } from './config.ts'
import type { ConfigValues } from './config-schema.ts'
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
    },
    events: eventSettings(events, secrets.eventsPassword?.reveal()),
    topic: wantedTopic(events.topic),
    eventBytesMax: events.eventBytesMax,
    startAt: events.startAt,
    database: {
      url: secrets.databaseUrl.reveal(),
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

function eventSettings(events: ConfigValues['events'], password: string | undefined): EventSettings {
  const { kind, brokers, clientId, group, fetchBytesMax, ssl, sasl } = events
  if (kind === 'postgres') return { kind, fetchBytesMax }
  const login =
    sasl?.username === undefined || password === undefined ? undefined : { mechanism: sasl.mechanism, username: sasl.username, password }
  return { kind, brokers, clientId, group, fetchBytesMax, ssl, sasl: login }
}

function wantedTopic({ partitions, replication, minInsyncReplicas, replayWindow }: ConfigValues['events']['topic']): WantedTopic {
  return { partitions, replication, minInsyncReplicas, replayWindowMs: replayWindow }
}

function gridSettings(grid: ConfigValues['grid'], folder: string, secret: string | undefined): GridSettings {
  const { linger, beat, lease, memberHeap, member, secretFile: _, ...same } = grid
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
