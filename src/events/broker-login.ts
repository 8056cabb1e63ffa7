/** How a node logs in at the brokers (SASL). */
import { readFile } from 'node:fs/promises'
import type { KafkaConfig } from 'kafkajs'
import { ForebayError } from '../errors.ts'

export type BrokerLogin =
  | { readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; readonly username: string; readonly password: string }
  /** The file is read again at each login: brokers ask for one before a token expires. */
  | { readonly mechanism: 'oauthbearer'; readonly tokenFile: string }

/** `login` as kafkajs takes it. */
export function kafkaSasl(login: BrokerLogin): NonNullable<KafkaConfig['sasl']> {
  if (login.mechanism !== 'oauthbearer') return login as NonNullable<KafkaConfig['sasl']>
  // The one of kafkajs does not look at the answer: a broker that refuses the token says so in it, and hangs up a request later.
  return {
    mechanism: 'oauthbearer',
    authenticationProvider: ({ saslAuthenticate }) => ({
      authenticate: async () => {
        const token = await readToken(login.tokenFile)
        await saslAuthenticate({ request: bearerRequest(token), response: bearerResponse(login.tokenFile) })
      },
    }),
  }
}

async function readToken(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw refused(`the token file ${file} cannot be read (${error.code}); let whatever brings tokens write it`)
  })
  const token = text.trim()
  // Anything else would be read as more fields of the login.
  if (!/^[\x21-\x7e]+$/.test(token)) throw refused(`the token file ${file} holds no token: one line of visible characters is expected`)
  const expiredAt = expiryOf(token)
  if (expiredAt !== undefined && expiredAt <= Date.now())
    throw refused(
      `the token in ${file} expired at ${new Date(expiredAt).toISOString()}; see why whatever brings tokens has not written a new one`,
    )
  return token
}

/** When a JWT expires, in milliseconds; undefined for a token of another kind. */
function expiryOf(token: string): number | undefined {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { exp?: unknown }
    return typeof exp === 'number' && Number.isFinite(new Date(exp * 1000).getTime()) ? exp * 1000 : undefined
  } catch {
    return undefined
  }
}

/** RFC 7628: no authorization identity, the token, no extensions; with its size in front, as kafkajs wants it. */
function bearerRequest(token: string) {
  const message = Buffer.from(`n,,\u0001auth=Bearer ${token}\u0001\u0001`)
  return { encode: () => Buffer.concat([sizeOf(message), message]) }
}

/** An answer that is not empty tells why the token is not taken. */
function bearerResponse(file: string) {
  return {
    decode: (raw: Buffer) => raw.subarray(4),
    parse: (answer: Buffer) => {
      if (answer.length === 0) return
      throw refused(
        `the broker does not take the token in ${file} (${statusOf(answer)}); see that it is meant for these brokers, and not expired`,
      )
    },
  }
}

const statusCharsMax = 200

function statusOf(answer: Buffer): string {
  const text = answer.toString('utf8')
  try {
    const { status } = JSON.parse(text) as { status?: unknown }
    if (typeof status === 'string') return status.slice(0, statusCharsMax)
  } catch {
    // Shown as it is.
  }
  return text.slice(0, statusCharsMax)
}

function sizeOf(message: Buffer): Buffer {
  const size = Buffer.alloc(4)
  size.writeInt32BE(message.length)
  return size
}

function refused(sentence: string): ForebayError {
  return new ForebayError('FB_EVENT_LOG_LOGIN', sentence)
}
