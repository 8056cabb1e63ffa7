import { isForebayError, sentenceOf } from '../errors.ts'
import { tlsRefusal } from '../database/tls-refusal.ts'

const causesMax = 8
const tlsNames = { ca: 'events.tls.caFile', cert: 'events.tls.certFile and keyFile', name: 'events.tls.serverName', on: 'events.tls' }

const unknownUser = 'the broker does not know this user or this password; correct events.sasl'
/** By the name that the protocol, or kafkajs, gives to a refused login. */
const remedies: Readonly<Record<string, string>> = {
  UNSUPPORTED_SASL_MECHANISM:
    'the broker does not offer this way to log in; give one of its sasl.enabled.mechanisms as events.sasl.mechanism',
  ILLEGAL_SASL_STATE: 'that port takes no login; take away events.sasl, or name a port of SASL',
  SECURITY_DISABLED: 'the broker is set up without security; take away events.sasl',
  SASL_AUTHENTICATION_FAILED: unknownUser,
  KafkaJSSASLAuthenticationError: unknownUser,
}

/** Why a broker and this node do not agree on TLS or login, and what to do; undefined for any other failure. */
export function kafkaLoginRefusal(error: unknown): string | undefined {
  const tls = tlsRefusal(error, tlsNames)
  if (tls !== undefined) return tls
  for (let at = error, depth = 0; at instanceof Error && depth < causesMax; at = at.cause, depth++) {
    if (isForebayError(at, 'FB_EVENT_LOG_LOGIN')) return at.message
    const { type } = at as Error & { readonly type?: unknown }
    const found = [type, at.name].find((name) => typeof name === 'string' && Object.hasOwn(remedies, name)) as string | undefined
    if (found !== undefined) return `${sentenceOf(at)}: ${remedies[found]}`
  }
  return undefined
}
