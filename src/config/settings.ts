/**
 * What a node needs to know, with every default applied and every secret read: the configuration file in resolved form.
 */
import type { WantedTopic } from '../events/topic-settings.ts'
import type { BrokerLogin } from '../events/broker-login.ts'
import type { TlsFiles } from '../database/tls-identity.ts'
import type { NodeTls } from './node-tls.ts'

export interface NodeSettings {
  readonly node: {
    readonly name: string
    readonly host: string
    readonly port: number
    /** What others are told instead of `host`: host or host:port. */
    readonly advertise?: string | undefined
    /** Default none. */
    readonly allowedHosts?: readonly string[]
    /** Default 1000. */
    readonly clientsMax?: number
    /** Default 250. */
    readonly clientsPerAddressMax?: number
    /** Undefined: the probes have no port of their own. */
    readonly probePort?: number | undefined
    /** What everybody must send who reaches the node from another machine; undefined: nobody can. */
    readonly token?: string | undefined
    /** Whether everybody may look without it. Default false. */
    readonly isOpen?: boolean
    /** Undefined: plain HTTP. */
    readonly tls?: NodeTls | undefined
    /** How long the process may stand still; 0, the default: as long as it likes. */
    readonly hangTimeoutMs?: number
  }
  readonly events: EventSettings
  /** How the topic is to be set up; undefined: nothing is compared. */
  readonly topic?: WantedTopic
  /** A larger event is a dead letter. */
  readonly eventBytesMax: number
  /** Where a pipeline's very first start begins: milliseconds since 1970 for a time. */
  readonly startAt: 'earliest' | 'latest' | number
  readonly database: {
    readonly url: string
    readonly poolMax: number
    readonly statementTimeoutMs: number
    readonly lockTimeoutMs: number
    readonly synchronousCommit: 'on' | 'off'
    readonly resolvedLettersKeptMs: number
  }
  readonly grid: GridSettings
  /** Overrides of the pipeline's own cadence and limits. */
  readonly tasks: Readonly<Record<string, { readonly everyMs?: number; readonly rowsMax?: number; readonly bytesMax?: number }>>
  /** Run only these tasks; undefined: all. */
  readonly tasksOnly: readonly string[] | undefined
  readonly logLevel: LogLevel
}

export type EventSettings =
  | {
      readonly kind: 'kafka'
      readonly brokers: readonly string[]
      readonly clientId: string
      /** Undefined: the pipeline's name. */
      readonly group: string | undefined
      readonly fetchBytesMax: number
      readonly inflatedBytesMax: number
      /** Undefined: plain connections. */
      readonly tls?: TlsFiles | undefined
      /** Undefined: no login. */
      readonly login?: BrokerLogin | undefined
    }
  | { readonly kind: 'postgres'; readonly fetchBytesMax: number }

export interface GridSettings {
  readonly mode: 'local' | 'embedded' | 'client'
  readonly clusterName: string
  readonly members: readonly string[]
  /** Key of the HMAC on segments and latest values; undefined: the deployment's id, which guards against damage only. */
  readonly secret: string | undefined
  /** Undefined: plain connections. */
  readonly tls?: TlsFiles | undefined
  readonly queues: number
  readonly capacity: number
  readonly segmentBytesMax: number
  readonly lingerMs: number
  readonly backups: number
  readonly memberHeapMb: number
  readonly beatMs: number
  readonly leaseMs: number
  /** Where the node's own member lives (mode `embedded`). */
  readonly member:
    | { readonly name: string; readonly address: string; readonly dir: string; readonly jars: string; readonly configFile: string }
    | undefined
}

/** Segments of one queue above its lowest durable watermark: two writers and some slack fit into a ring (rule 3). */
export function windowSegmentsMax(capacity: number): number {
  return Math.floor((capacity - 16) / 2)
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'
