import { type Cluster, Kafka, logLevel } from 'kafkajs'
import { must } from '../assert.ts'
import { TlsIdentity } from '../database/tls-identity.ts'
import type { TlsFiles } from '../database/tls-identity.ts'
import { kafkaSasl } from './broker-login.ts'
import type { BrokerLogin } from './broker-login.ts'
import { kafkaSockets } from './kafka-socket.ts'
import { quietRequestQueues } from './kafka-request-queue.ts'

/** How to reach a Kafka cluster. */
export interface KafkaAddress {
  /** `host:port` of at least one broker. */
  readonly brokers: readonly string[]
  readonly clientId: string
  /** Absent: plain connections. */
  readonly tls?: TlsFiles | undefined
  /** Absent: no login. */
  readonly login?: BrokerLogin | undefined
}

const connectTimeoutMs = 2_000
/** A broker that accepted a request and stays silent is given up after this. */
const requestTimeoutMs = 10_000
/** So long before a login is over the next one is made. Not sooner: whoever writes tokens may write the next one late. */
const loginAgainMs = 3_000

/** A kafkajs client that fails fast: the callers own retrying, so that a broker's return is noticed at once. */
export function kafkaClient(address: KafkaAddress): Kafka {
  quietRequestQueues()
  return new Kafka({
    brokers: [...address.brokers],
    clientId: address.clientId,
    socketFactory: kafkaSockets(address.tls === undefined ? undefined : new TlsIdentity(address.tls)),
    ...(address.login === undefined ? {} : { sasl: kafkaSasl(address.login) }),
    connectionTimeout: connectTimeoutMs,
    requestTimeout: requestTimeoutMs,
    reauthenticationThreshold: loginAgainMs,
    retry: { retries: 2, initialRetryTime: 50, maxRetryTime: 200 },
    logLevel: logLevel.NOTHING,
  })
}

/**
 * A kafkajs cluster with connections of its own, not yet connected. kafkajs hands it out where a consumer's partition
 * assigner is made; the consumer itself is never run, so no consumer group exists and nothing is ever assigned,
 * reset or committed behind our back: each fetch says its own partition and offset.
 */
export function clusterOf(kafka: Kafka): Cluster {
  let captured: Cluster | null = null
  kafka.consumer({
    groupId: 'never-joined',
    allowAutoTopicCreation: false,
    partitionAssigners: [
      ({ cluster }) => {
        captured = cluster
        return {
          name: 'none',
          version: 0,
          assign: () => Promise.resolve([]),
          protocol: () => ({ name: 'none', metadata: Buffer.alloc(0) }),
        }
      },
    ],
  })
  return must<Cluster>(captured, 'the cluster that kafkajs gives to an assigner')
}

/** Lets go of a cluster without waiting for a broker that may not answer; resolves when it is gone or after `waitMs`. */
export async function releaseCluster(cluster: Cluster, waitMs = 1_000): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, waitMs)
  })
  // A connection that is already broken has nothing left to close.
  await Promise.race([cluster.disconnect().catch(() => undefined), timeout])
  clearTimeout(timer)
}
