/**
 * Secrets of the configuration: from the environment, else from the file a key names. Never from the configuration itself.
 */
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { databaseTlsFindings, withAbsoluteFiles } from '../database/database-url.ts'
import type { ConfigProblem } from './config-issues.ts'
import type { ConfigValues } from './config-schema.ts'
import { readNodeTls } from './node-tls.ts'
import type { NodeTls } from './node-tls.ts'
import { rememberSecret } from '../text/redaction.ts'
import { Secret } from './secret.ts'

export interface ConfigSecrets {
  readonly databaseUrl: Secret
  readonly gridSecret: Secret | undefined
  readonly eventsPassword: Secret | undefined
  readonly nodeToken: Secret | undefined
  readonly nodeTls: NodeTls | undefined
}

export const secretEnv = {
  databaseUrl: 'FOREBAY_DATABASE_URL',
  gridSecret: 'FOREBAY_GRID_SECRET',
  eventsPassword: 'FOREBAY_EVENTS_PASSWORD',
  nodeToken: 'FOREBAY_NODE_TOKEN',
} as const

export interface SecretsRead {
  readonly secrets: ConfigSecrets
  readonly problems: readonly ConfigProblem[]
  readonly warnings: readonly string[]
}

const secretLengthMin = 16

/** Reads them all. `folder`: what paths are relative to. */
export function readSecrets(values: ConfigValues, folder: string, env: NodeJS.ProcessEnv): SecretsRead {
  const problems: ConfigProblem[] = []
  const warnings: string[] = []
  const read = (variable: string | undefined, file: string | undefined, path: readonly string[]): string | undefined => {
    const given = variable === undefined ? undefined : env[variable]
    if (given !== undefined && given !== '') return given
    if (file === undefined) return undefined
    try {
      const full = resolve(folder, file)
      if ((statSync(full).mode & 0o077) !== 0) warnings.push(`${path.join('.')}: others may read ${full}; run chmod 600 on it`)
      const text = readFileSync(full, 'utf8').split('\n')[0]!.trim()
      if (text === '') problems.push({ path, message: `${full} is empty; its first line must hold the secret` })
      return text
    } catch (error) {
      problems.push({ path, message: `${resolve(folder, file)} cannot be read (${(error as NodeJS.ErrnoException).code})` })
      return ''
    }
  }
  const url = read(secretEnv.databaseUrl, values.database.urlFile, ['database', 'urlFile']) ?? values.database.url
  if (url === undefined)
    problems.push({ path: ['database', 'url'], message: `is missing; give database.url, database.urlFile or ${secretEnv.databaseUrl}` })
  else if (url !== '' && !/^postgres(ql)?:\/\//.test(url))
    problems.push({
      path: ['database', 'urlFile'],
      message: `the URL of the database (database.urlFile or ${secretEnv.databaseUrl}) must begin with postgres://`,
    })
  else if (url !== '' && !URL.canParse(url))
    problems.push({
      path: ['database', 'urlFile'],
      message: `the URL of the database (database.urlFile or ${secretEnv.databaseUrl}) is none: write the characters / # ? @ : % of a password as %2F %23 %3F %40 %3A %25`,
    })
  else if (url !== '') {
    const tls = databaseTlsFindings(withAbsoluteFiles(url, folder), env)
    const path = ['database', values.database.url === url ? 'url' : 'urlFile']
    problems.push(...tls.problems.map((message) => ({ path, message })))
    warnings.push(...tls.warnings.map((message) => `database.url: ${message}`))
  }
  rememberSecret(passwordOf(url))
  const gridSecret = read(secretEnv.gridSecret, values.grid.secretFile, ['grid', 'secretFile'])
  if (gridSecret !== undefined && gridSecret !== '' && gridSecret.length < secretLengthMin) {
    problems.push({ path: ['grid', 'secretFile'], message: `the grid secret must have at least ${secretLengthMin} characters` })
  }
  const nodeToken = read(secretEnv.nodeToken, values.node.tokenFile, ['node', 'tokenFile'])
  if (nodeToken !== undefined && nodeToken !== '' && !/^[\w.~+/=-]{16,}$/.test(nodeToken)) {
    problems.push({
      path: ['node', 'tokenFile'],
      message: `the token must have at least ${secretLengthMin} characters, letters, digits and - . _ ~ + / = alone; \`openssl rand -hex 32\` makes one`,
    })
  }
  const nodeTls = readNodeTls(values.node.tls, folder, problems)
  const login = values.events.sasl
  const wantsPassword = login !== undefined && login.mechanism !== 'oauthbearer'
  const eventsPassword = wantsPassword ? read(secretEnv.eventsPassword, login.passwordFile, ['events', 'sasl', 'passwordFile']) : undefined
  if (wantsPassword && eventsPassword === undefined) {
    problems.push({ path: ['events', 'sasl'], message: `has no password; give events.sasl.passwordFile or ${secretEnv.eventsPassword}` })
  }
  if (wantsPassword && login.username === undefined) problems.push({ path: ['events', 'sasl'], message: 'has no username' })
  // Read again at each login; here only whether it can be.
  if (login?.mechanism === 'oauthbearer') read(undefined, login.tokenFile, ['events', 'sasl', 'tokenFile'])
  const secrets = {
    databaseUrl: new Secret(url ?? ''),
    gridSecret: secretOf(gridSecret),
    eventsPassword: secretOf(eventsPassword),
    nodeToken: secretOf(nodeToken),
    nodeTls,
  }
  return { secrets, problems, warnings }
}

function passwordOf(url: string | undefined): string | undefined {
  const password = url !== undefined && URL.canParse(url) ? new URL(url).password : ''
  try {
    return decodeURIComponent(password)
  } catch {
    return password
  }
}

function secretOf(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text)
}
