/**
 * The database's URL: what libpq's TLS parameters in it mean, made explicit for `pg`.
 *
 * `pg` has words of its own for them: it takes `require` and `verify-ca` for `verify-full`, and passes over what it does not know,
 * such as a list of revoked certificates. Here they mean what libpq says, or are refused in words.
 */
import { resolve } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { ForebayError, isForebayError } from '../errors.ts'
import { checkTlsFiles, TlsIdentity } from './tls-identity.ts'
import type { TlsFiles, TlsFindings, TlsKey } from './tls-identity.ts'

const modes = ['disable', 'require', 'verify-ca', 'verify-full'] as const
type Mode = (typeof modes)[number]

/** How each is called in a URL. */
const parameters = { caFile: 'sslrootcert', certFile: 'sslcert', keyFile: 'sslkey' } as const satisfies Record<TlsKey, string>
const systemAuthorities = 'system'
/** Read by libpq where the URL is silent; `pg` knows the first of them. */
const environmentNames = { sslmode: 'PGSSLMODE', sslrootcert: 'PGSSLROOTCERT', sslcert: 'PGSSLCERT', sslkey: 'PGSSLKEY' } as const
const known: ReadonlySet<string> = new Set([...Object.keys(environmentNames), 'sslnegotiation'])
/** What bears on who is trusted: passing over it in silence would be to lie. */
const isOfTrust = (name: string) => /^ssl|^gss|^(requiressl|channel_binding|require_auth|requirepeer|uselibpqcompat)$/.test(name)

interface UrlTls {
  readonly mode: Mode
  readonly files: TlsFiles
}

/** How `pg` is told where the database is. */
export interface DatabaseConnection {
  readonly connectionString: string
  readonly ssl: false | ConnectionOptions
}

/** `url` without its TLS parameters, and what they mean. Throws FB_CONFIG when they mean nothing, or their files cannot be used. */
export function databaseConnection(url: string, env: NodeJS.ProcessEnv = process.env): DatabaseConnection {
  const { mode, files } = tlsOf(url, env)
  const connectionString = withoutTls(url)
  if (mode === 'disable') return { connectionString, ssl: false }
  const identity = new TlsIdentity(files)
  return {
    connectionString,
    ssl: {
      // Asked by `pg` at each connection.
      get secureContext() {
        return identity.secureContext
      },
      ...(mode === 'require' ? { rejectUnauthorized: false } : {}),
      ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    },
  }
}

/** The same URL with the files in it as absolute paths: relative ones are below `folder`. */
export function withAbsoluteFiles(url: string, folder: string): string {
  if (!URL.canParse(url)) return url
  const parsed = new URL(url)
  for (const name of Object.values(parameters)) {
    const file = parsed.searchParams.get(name)
    if (file !== null && file !== systemAuthorities) parsed.searchParams.set(name, resolve(folder, file))
  }
  return parsed.searchParams.size === 0 ? url : parsed.href
}

/** What is wrong with the TLS parameters of `url`, each with what to do. */
export function databaseTlsFindings(url: string, env: NodeJS.ProcessEnv = process.env): { problems: string[]; warnings: string[] } {
  try {
    const findings: TlsFindings = checkTlsFiles(tlsOf(url, env).files)
    const sentences = (found: TlsFindings['problems']) => found.map(({ key, message }) => `${parameters[key]}: ${message}`)
    return { problems: sentences(findings.problems), warnings: sentences(findings.warnings) }
  } catch (error) {
    if (isForebayError(error)) return { problems: [error.message], warnings: [] }
    throw error
  }
}

function tlsOf(url: string, env: NodeJS.ProcessEnv): UrlTls {
  const given = URL.canParse(url) ? new URL(url).searchParams : new URLSearchParams()
  const said = (name: keyof typeof environmentNames) => given.get(name) ?? (env[environmentNames[name]] || null)
  for (const name of given.keys()) {
    if (isOfTrust(name) && !known.has(name))
      throw refused(
        `${name} is not known to forebay, and passing over it could trust whom it should not; take it away (known are ${[...known].join(', ')})`,
      )
  }
  const written = said('sslmode')
  const root = said('sslrootcert')
  const files: TlsFiles = {
    caFile: root === null || root === systemAuthorities ? undefined : root,
    certFile: said('sslcert') ?? undefined,
    keyFile: said('sslkey') ?? undefined,
  }
  const mode = modes.find((name) => name === written)
  if (written !== null && mode === undefined) {
    const why =
      written === 'prefer' || written === 'allow' ? 'would take a plain connection without a word where TLS fails' : 'means nothing'
    throw refused(`sslmode=${written} ${why}; write one of ${modes.join(', ')}`)
  }
  if (mode === undefined) {
    const [unused] = [...given.keys()].filter((name) => known.has(name))
    if (unused !== undefined) throw refused(`${unused} is of no use without sslmode; add sslmode=verify-full`)
    return { mode: 'disable', files: {} }
  }
  if (mode === 'disable') return { mode, files: {} }
  return { mode: checkedMode(mode, root), files }
}

/** As libpq has it: `require` with an authority to believe is `verify-ca`, and nothing is verified against nobody. */
function checkedMode(mode: Mode, root: string | null): Mode {
  if (root === systemAuthorities && mode !== 'verify-full')
    throw refused(`sslrootcert=system believes every public authority, so a name must be verified too; write sslmode=verify-full`)
  if (root === null && (mode === 'verify-ca' || mode === 'verify-full'))
    throw refused(
      `sslmode=${mode} verifies the server’s certificate, but against whose is not said; add sslrootcert=FILE${mode === 'verify-full' ? ', or sslrootcert=system for the public authorities' : ''}`,
    )
  return mode === 'require' && root !== null ? 'verify-ca' : mode
}

function withoutTls(url: string): string {
  if (!URL.canParse(url)) return url
  const parsed = new URL(url)
  const before = parsed.searchParams.size
  for (const name of Object.keys(environmentNames)) parsed.searchParams.delete(name)
  return parsed.searchParams.size === before ? url : parsed.href
}

function refused(sentence: string): ForebayError {
  return new ForebayError('FB_CONFIG', sentence)
}
