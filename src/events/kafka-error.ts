import { ForebayError, sentenceOf, serverCodeOf } from '../errors.ts'
import { kafkaFailureKind } from './kafka-failure-kinds.ts'
import { kafkaLoginRefusal } from './kafka-login-refusal.ts'

/** The protocol's name of a broker's error (`UNKNOWN_TOPIC_OR_PARTITION` …), or null; looks through kafkajs's wrappers. */
export function kafkaErrorType(error: unknown): string | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    const type = (at as Error & { type?: unknown }).type
    if (typeof type === 'string') return type
  }
  return null
}

/** A kafkajs failure as forebay's: FB_TOPIC_MISSING for an unknown topic, else what `kafka-failure-kinds.ts` says. */
export function kafkaFailure(error: unknown, doing: string, brokers: readonly string[]): ForebayError {
  if (error instanceof ForebayError) return error
  if (kafkaErrorType(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return topicMissing(doing, error)
  return kafkaProblem(error, doing, brokers)
}

/** Where a topic that is not known may become known again. */
export function kafkaProblem(error: unknown, doing: string, brokers: readonly string[]): ForebayError {
  if (error instanceof ForebayError) return error
  const refusal = kafkaLoginRefusal(error)
  if (refusal !== undefined)
    return new ForebayError('FB_EVENT_LOG_LOGIN', `Kafka at ${brokers.join(', ')} refused this node while ${doing}: ${refusal}`, {
      cause: error,
    })
  const { code, remedy } = kafkaFailureKind(error)
  const failed = code === 'FB_EVENT_LOG_REFUSED' ? 'refused this node' : 'failed'
  const message = `Kafka at ${brokers.join(', ')} ${failed} while ${doing}: ${sentenceOf(error)} (${serverCodeOf(error) ?? typeof error}); ${remedy}`
  return new ForebayError(code, message, { cause: error })
}

function topicMissing(doing: string, error: unknown): ForebayError {
  return new ForebayError('FB_TOPIC_MISSING', `Kafka knows no such topic or partition (${doing}); create it, or correct the topic's name`, {
    cause: error,
  })
}
