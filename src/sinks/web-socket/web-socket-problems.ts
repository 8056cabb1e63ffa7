import { isFields, shown } from '../../text/fields.ts'
import type { WebSocketDefinition } from './web-socket-definition.ts'

const channelPattern = /^[a-z][a-z0-9-]{0,47}$/

/** What is wrong with a channel as a pipeline declares it, for authors whom no compiler told. */
export function webSocketProblems({
  channel,
  latestBy,
  seed,
  authorize,
}: { readonly [Name in keyof WebSocketDefinition]?: unknown }): string[] {
  const problems: string[] = []
  if (typeof channel !== 'string' || !channelPattern.test(channel))
    problems.push(`a channel's name is lower case letters, digits and dashes, not ${shown(channel)}`)
  if (typeof latestBy !== 'function') problems.push('latestBy must be a function of the value')
  if (seed !== undefined && !(isFields(seed) && typeof seed.sql === 'string' && /\S/.test(seed.sql)))
    problems.push('seed must be { sql } with a query of key and value')
  if (authorize !== undefined && typeof authorize !== 'function')
    problems.push(`authorize must be a function of the request, not ${shown(authorize)}`)
  return problems
}
