/**
 * Feeds a Kafka cluster that others run: `node dist/launch/feed-kafka.js [--topic-only] [options of npm run cluster]`.
 * The brokers are those of FOREBAY_EVENTS_BROKERS. What an earlier run published is not published again, so one topic takes
 * one feed.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import { feed } from './feed.ts'
import { feedSourceOf } from './feed-source.ts'
import { createFeedTopic, KafkaFeedTarget } from './kafka-feed-target.ts'
import { parseLaunchOptions } from './options.ts'

async function main(words: readonly string[]): Promise<void> {
  const brokers = (process.env['FOREBAY_EVENTS_BROKERS'] ?? '127.0.0.1:9092').split(',').map((broker) => broker.trim())
  const options = parseLaunchOptions(
    'standalone',
    words.filter((word) => word !== '--topic-only'),
  )
  if (options === undefined) return
  await createFeedTopic(brokers)
  if (words.includes('--topic-only')) return
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const source = await feedSourceOf(options)
  await using target = new KafkaFeedTarget(brokers)
  const tails = await Promise.all(Array.from({ length: target.partitions }, (_, partition) => target.lastLine(partition)))
  process.stderr.write(`feeding ${source.title} to ${brokers.join(', ')}\n`)
  const onTrouble = (error: Error) => process.stderr.write(`the feed waits: ${error.message}\n`)
  const { published, known } = await feed({ lines: source.read(Math.min(...tails)), target, pace: options.pace, onTrouble }, stop.signal)
  process.stderr.write(`fed ${published} lines; the log had ${known} of those read\n`)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${sentenceOf(error)}\n`)
  process.exitCode = isForebayError(error) ? error.exitCode : 70
}
