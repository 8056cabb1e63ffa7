import { openTopicAdmin } from './servers.ts'
import { ForebayError, isForebayError } from '../errors.ts'
import { topicDrift } from '../events/topic-settings.ts'
import type { FoundTopic } from '../events/topic-settings.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'

const nothingWanted = { partitions: undefined, replication: undefined, minInsyncReplicas: undefined, replayWindowMs: undefined }

/**
 * Looks whether the topic is set up as the configuration wants it, once, before a node starts. Throws FB_TOPIC_SETTINGS with the
 * command that mends it. A log that does not answer or does not tell is left to the start itself.
 */
export async function verifyTopic(settings: NodeSettings, pipeline: Pipeline, file: string): Promise<void> {
  const found = await describe(settings, pipeline)
  if (found === undefined) return
  const errors = topicDrift(settings.topic ?? nothingWanted, found, undefined).filter(({ severity }) => severity === 'error')
  if (errors.length === 0) return
  const lines = errors.map(({ setting, found: is, wanted, consequence }) => `${setting} is ${is}, wanted ${wanted}: ${consequence}`)
  const command = errors.some(({ change }) => change !== null)
    ? `mend it with: forebay topics apply -c ${file}`
    : `see: forebay topics plan -c ${file}`
  throw new ForebayError('FB_TOPIC_SETTINGS', `topic ${pipeline.source.topic} is not set up as it must be; ${command}\n${lines.join('\n')}`)
}

async function describe(settings: NodeSettings, pipeline: Pipeline): Promise<FoundTopic | undefined> {
  await using admin = openTopicAdmin(settings, pipeline)
  try {
    return (await admin.describe()) ?? undefined
  } catch (error) {
    if (isForebayError(error)) return undefined
    throw error
  }
}
