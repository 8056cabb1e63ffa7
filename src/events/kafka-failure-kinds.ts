/**
 * What a failure of Kafka means, in one table: by the protocol's name of a broker's error, by the class of kafkajs's (or its message, where it
 * has no class), or by the code of the system. What is not listed is told as what it is, and tried again. TLS and logins have a table of their own, in
 * `kafka-login-refusal.ts`.
 */
import type { ErrorCode } from '../errors.ts'

export interface KafkaFailureKind {
  readonly code: ErrorCode
  /** What to do. */
  readonly remedy: string
}

type NamedKind = KafkaFailureKind & { readonly names: readonly string[] }

const kinds: readonly NamedKind[] = [
  {
    names: ['TOPIC_AUTHORIZATION_FAILED'],
    code: 'FB_EVENT_LOG_REFUSED',
    remedy:
      'allow this user to read and describe the topic (kafka-acls --add --allow-principal User:… --operation Read --operation Describe --topic …)',
  },
  {
    names: ['GROUP_AUTHORIZATION_FAILED'],
    code: 'FB_EVENT_LOG_REFUSED',
    remedy:
      'allow this user to read the group (kafka-acls --add --allow-principal User:… --operation Read --group …); only what lag tools show depends on it',
  },
  {
    names: ['CLUSTER_AUTHORIZATION_FAILED', 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'DELEGATION_TOKEN_AUTHORIZATION_FAILED'],
    code: 'FB_EVENT_LOG_REFUSED',
    remedy: 'give this user the right that is missing',
  },
  {
    names: ['CORRUPT_MESSAGE', 'INVALID_RECORD', 'KafkaJSInvalidVarIntError', 'KafkaJSInvalidLongError', 'KafkaJSPartialMessageError'],
    code: 'FB_EVENT_LOG_UNREADABLE',
    remedy: 'a record batch there is damaged: look at the disk of the leader, or let an intact replica lead. Nothing is skipped',
  },
  {
    names: [
      'UNSUPPORTED_COMPRESSION_TYPE',
      'UNSUPPORTED_FOR_MESSAGE_FORMAT',
      'KafkaJSNotImplemented',
      'KafkaJSUnsupportedMagicByteInMessageSet',
    ],
    code: 'FB_EVENT_LOG_UNREADABLE',
    remedy: 'a record batch there is in a codec or format that forebay cannot read: let its producers use another one. Nothing is skipped',
  },
  {
    names: ['UNSUPPORTED_VERSION', 'KafkaJSServerDoesNotSupportApiKey'],
    code: 'FB_EVENT_LOG_UNSUPPORTED',
    remedy: 'the README names the versions of Kafka that were tried',
  },
  {
    names: [
      ...['KafkaJSConnectionError', 'KafkaJSConnectionClosedError', 'KafkaJSRequestTimeoutError', 'KafkaJSBrokerNotFound'],
      ...['KafkaJSNoBrokerAvailableError', 'KafkaJSLockTimeout', 'ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'],
      ...['EHOSTUNREACH', 'ENETUNREACH', 'EPIPE'],
      // A plain Error of kafkajs: somebody took the connection and said nothing.
      'Broker not connected',
    ],
    code: 'FB_EVENT_LOG_UNREACHABLE',
    remedy: 'check that a broker runs there',
  },
  {
    names: [
      ...['LEADER_NOT_AVAILABLE', 'NOT_LEADER_FOR_PARTITION', 'REPLICA_NOT_AVAILABLE', 'BROKER_NOT_AVAILABLE', 'KAFKA_STORAGE_ERROR'],
      ...['FENCED_LEADER_EPOCH', 'UNKNOWN_LEADER_EPOCH', 'OFFSET_NOT_AVAILABLE', 'NETWORK_EXCEPTION', 'REQUEST_TIMED_OUT'],
      ...['GROUP_LOAD_IN_PROGRESS', 'GROUP_COORDINATOR_NOT_AVAILABLE', 'NOT_COORDINATOR_FOR_GROUP', 'KafkaJSGroupCoordinatorNotFound'],
      ...['UNKNOWN_TOPIC_OR_PARTITION', 'KafkaJSMetadataNotLoaded', 'KafkaJSTopicMetadataNotLoaded'],
    ],
    code: 'FB_EVENT_LOG_UNREACHABLE',
    remedy: 'it passes when the cluster has found a leader; if it does not, look at the logs of its brokers',
  },
]

const kindByName = new Map(kinds.flatMap(({ names, ...kind }) => names.map((name) => [name, kind] as const)))
const unknownKind: KafkaFailureKind = { code: 'FB_EVENT_LOG_FAILED', remedy: 'forebay does not know this failure; it is tried again' }
const causesMax = 8

/** The kind of `error`, looked for in everything that caused it, from the innermost outwards. */
export function kafkaFailureKind(error: unknown): KafkaFailureKind {
  let found: KafkaFailureKind | undefined
  for (let at = error, depth = 0; at instanceof Error && depth < causesMax; at = at.cause, depth++) {
    const { type, code, name, message } = at as Error & { readonly type?: unknown; readonly code?: unknown }
    for (const known of [type, code, name, message]) {
      const kind = typeof known === 'string' ? kindByName.get(known) : undefined
      if (kind === undefined) continue
      found = kind
      break
    }
  }
  return found ?? unknownKind
}
