/** Where a schema registry is and how it is asked; checked when a pipeline is defined. */
import { readFile } from 'node:fs/promises'
import { ForebayError } from '../errors.ts'

export interface RegistryOptions {
  /** `http://` or `https://`, with a path where the registry has one; without a user and a password. */
  readonly url: string
  /** User of basic authentication. Default: FOREBAY_REGISTRY_USER. */
  readonly user?: string
  /** File whose first line is the password. Default: FOREBAY_REGISTRY_PASSWORD. */
  readonly passwordFile?: string
  /** File that holds a bearer token; read again for each request. Default: FOREBAY_REGISTRY_TOKEN. */
  readonly tokenFile?: string
  /** File with the certificates (PEM) of the authorities to believe. Default: those of Node.js. */
  readonly caFile?: string
  /** How long one request may take, in milliseconds. Default 3000. */
  readonly timeoutMs?: number
}

const fields = ['url', 'user', 'passwordFile', 'tokenFile', 'caFile', 'timeoutMs']
const timeoutMsMax = 60_000

/** Throws FB_PIPELINE. */
export function checkedRegistry(given: RegistryOptions): RegistryOptions & { readonly base: URL } {
  const wrong = (what: string) => new ForebayError('FB_PIPELINE', `The registry of the decoder: ${what}.`)
  if (typeof given !== 'object' || given === null) throw wrong("say where it is, such as registry: { url: 'http://localhost:8081' }")
  const unknown = Object.keys(given).find((name) => !fields.includes(name))
  if (unknown !== undefined) throw wrong(`${unknown} is no field of it; there are ${fields.join(', ')}`)
  const { url, user, passwordFile, tokenFile, caFile, timeoutMs } = given
  const base = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined
  if (base === undefined || !['http:', 'https:'].includes(base.protocol)) throw wrong('url must begin with http:// or https://')
  // It would stand in logs, and in the repository.
  if (base.username !== '' || base.password !== '') throw wrong('url holds a user or a password; give them as user and passwordFile')
  if (base.search !== '' || base.hash !== '') throw wrong('url must end with its path, without ? and #')
  for (const [name, value] of Object.entries({ user, passwordFile, tokenFile, caFile }))
    if (value !== undefined && (typeof value !== 'string' || value === '')) throw wrong(`${name} must be a text`)
  if (tokenFile !== undefined && (user !== undefined || passwordFile !== undefined))
    throw wrong('give either user and passwordFile, or tokenFile')
  if (timeoutMs !== undefined && !(Number.isSafeInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= timeoutMsMax))
    throw wrong(`timeoutMs must be a whole number from 1 to ${timeoutMsMax}`)
  return { ...given, base }
}

/** The value of the header `authorization`; undefined: none is wanted. Files are read each time, since secrets are renewed. Throws FB_REGISTRY_REFUSED. */
export async function authorizationOf(
  { user, passwordFile, tokenFile }: RegistryOptions,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const isBasic = user !== undefined || passwordFile !== undefined
  const token = tokenFile !== undefined ? await secretIn(tokenFile) : isBasic ? undefined : env['FOREBAY_REGISTRY_TOKEN']
  if (token !== undefined && token !== '') {
    if (!/^[\x21-\x7e]+$/.test(token)) throw refused('the bearer token is not one line of visible characters')
    return `Bearer ${token}`
  }
  const name = user ?? env['FOREBAY_REGISTRY_USER']
  if (name === undefined || name === '') {
    if (passwordFile !== undefined) throw refused('there is a password, but no user: give registry.user or FOREBAY_REGISTRY_USER')
    return undefined
  }
  const password = passwordFile !== undefined ? await secretIn(passwordFile) : env['FOREBAY_REGISTRY_PASSWORD']
  if (password === undefined) throw refused('there is a user, but no password: give registry.passwordFile or FOREBAY_REGISTRY_PASSWORD')
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}

async function secretIn(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).split('\n')[0]!.trim()
  } catch (error) {
    throw refused(`the file ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

function refused(why: string): ForebayError {
  return new ForebayError('FB_REGISTRY_REFUSED', `No schema can be fetched: ${why}.`)
}
