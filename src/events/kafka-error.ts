import { ForebayError, sentenceOf } from '../errors.ts'

/** The protocol's name of a broker's error (`UNKNOWN_TOPIC_OR_PARTITION` …), or null; looks through kafkajs's wrappers. */
export function kafkaErrorType(error: unknown): string | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    const type = (at as Error & { type?: unknown }).type
    if (typeof type === 'string') return type
  }
  return null
}

/** A kafkajs failure as forebay's: FB_TOPIC_MISSING for an unknown topic, FB_EVENT_LOG_UNREACHABLE for everything else. */
export function kafkaFailure(error: unknown, doing: string, brokers: readonly string[]): ForebayError {
  if (error instanceof ForebayError) return error
  if (kafkaErrorType(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return topicMissing(doing, error)
  return kafkaUnreachable(error, doing, brokers)
}

export function kafkaUnreachable(error: unknown, doing: string, brokers: readonly string[]): ForebayError {
  const message = `Kafka at ${brokers.join(', ')} failed while ${doing}: ${sentenceOf(error)}; check that a broker runs there`
  return new ForebayError('FB_EVENT_LOG_UNREACHABLE', message, { cause: error })
}

function topicMissing(doing: string, error: unknown): ForebayError {
  return new ForebayError('FB_TOPIC_MISSING', `Kafka knows no such topic or partition (${doing}); create it, or correct the topic's name`, {
    cause: error,
  })
}
