import * as kafkajs from 'kafkajs'
import { describe, expect, it } from 'vitest'
import { errorCodes } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { kafkaFailure, kafkaProblem } from '../../src/events/kafka-error.ts'

const protocol = (type: string) =>
  new kafkajs.KafkaJSProtocolError(Object.assign(new Error(`what Kafka says of ${type}`), { type, code: 1 }))
const system = (code: string) => new kafkajs.KafkaJSConnectionError('Connection error', { broker: 'kafka:9092', code })
const named = (name: string) => Object.assign(new Error('what kafkajs says'), { name })
const retried = (cause: Error) => Object.assign(new kafkajs.KafkaJSNonRetriableError('Retries exceeded'), { cause })

const failures: [unknown, ErrorCode][] = [
  [protocol('TOPIC_AUTHORIZATION_FAILED'), 'FB_EVENT_LOG_REFUSED'],
  [protocol('GROUP_AUTHORIZATION_FAILED'), 'FB_EVENT_LOG_REFUSED'],
  [protocol('SASL_AUTHENTICATION_FAILED'), 'FB_EVENT_LOG_LOGIN'],
  [named('KafkaJSSASLAuthenticationError'), 'FB_EVENT_LOG_LOGIN'],
  [protocol('CORRUPT_MESSAGE'), 'FB_EVENT_LOG_UNREADABLE'],
  [protocol('UNSUPPORTED_COMPRESSION_TYPE'), 'FB_EVENT_LOG_UNREADABLE'],
  [named('KafkaJSNotImplemented'), 'FB_EVENT_LOG_UNREADABLE'],
  [protocol('UNSUPPORTED_VERSION'), 'FB_EVENT_LOG_UNSUPPORTED'],
  [new kafkajs.KafkaJSServerDoesNotSupportApiKey('old', { apiKey: 1, apiName: 'Fetch' }), 'FB_EVENT_LOG_UNSUPPORTED'],
  [system('ECONNREFUSED'), 'FB_EVENT_LOG_UNREACHABLE'],
  [new kafkajs.KafkaJSConnectionError('Connection timeout'), 'FB_EVENT_LOG_UNREACHABLE'],
  [new Error('Broker not connected'), 'FB_EVENT_LOG_UNREACHABLE'],
  [protocol('NOT_LEADER_FOR_PARTITION'), 'FB_EVENT_LOG_UNREACHABLE'],
  [protocol('UNKNOWN_TOPIC_OR_PARTITION'), 'FB_EVENT_LOG_UNREACHABLE'],
  [protocol('POLICY_VIOLATION'), 'FB_EVENT_LOG_FAILED'],
  [new TypeError('a defect'), 'FB_EVENT_LOG_FAILED'],
  ['a text', 'FB_EVENT_LOG_FAILED'],
]

describe('a failure of Kafka', () => {
  it.each(failures)('has the code of its kind: %s', (error, code) => {
    expect(kafkaProblem(error, 'testing', ['kafka:9092']).code).toBe(code)
    if (error instanceof Error) expect(kafkaProblem(retried(error), 'testing', ['kafka:9092']).code).toBe(code)
  })

  it('says what it is, where, and what to do', () => {
    expect(kafkaProblem(protocol('TOPIC_AUTHORIZATION_FAILED'), 'reading partition 3', ['a:1', 'b:2']).message).toMatch(
      /^Kafka at a:1, b:2 refused this node while reading partition 3: what Kafka says of TOPIC_AUTHORIZATION_FAILED \(TOPIC_AUTHORIZATION_FAILED\); allow this user to read/,
    )
    expect(kafkaProblem(system('ECONNREFUSED'), 'x', ['a:1']).message).toBe(
      'Kafka at a:1 failed while x: Connection error (ECONNREFUSED); check that a broker runs there',
    )
  })

  it('that nobody knows is told as what it is, and sends nobody to look for a broker', () => {
    const { message } = kafkaProblem(new TypeError('a defect'), 'x', ['a:1'])
    expect(message).toBe('Kafka at a:1 failed while x: a defect (TypeError); forebay does not know this failure; it is tried again')
  })

  it('is halted at, or tried again, by its code', () => {
    const policies = failures.map(([error]) => errorCodes[kafkaProblem(error, 'x', []).code].policy)
    expect(new Set(policies)).toEqual(new Set(['halt', 'retry']))
  })

  it('of a question about a topic is fatal when there is no such topic', () => {
    expect(kafkaFailure(protocol('UNKNOWN_TOPIC_OR_PARTITION'), 'x', []).code).toBe('FB_TOPIC_MISSING')
  })
})
