/**
 * Rules between keys: combinations of single values that are each right and together impossible.
 */
import type { ConfigProblem } from './config-issues.ts'
import type { ConfigValues } from './config-schema.ts'
import { isLoopbackHost } from './host-check.ts'
import type { KeyPath } from './yaml-source.ts'

/** Secrets that somebody gave. */
export interface GivenSecrets {
  readonly hasGridSecret: boolean
  readonly hasNodeToken: boolean
}

/** `isGiven` tells whether someone wrote the key, as against its default. */
export function combinationProblems(values: ConfigValues, isGiven: (path: KeyPath) => boolean, given: GivenSecrets): ConfigProblem[] {
  return [...doorProblems(values, given), ...eventProblems(values, isGiven), ...databaseProblems(values), ...gridProblems(values, isGiven)]
}

/** What runs, but deserves a word. */
export function combinationWarnings({ node, events, grid }: ConfigValues, { hasGridSecret, hasNodeToken }: GivenSecrets): string[] {
  const warnings: string[] = []
  if (!isLoopbackHost(node.host) && node.open) {
    warnings.push(
      `node.host ${node.host} can be reached from other machines, and node.open lets everybody look: keep it on a private network`,
    )
  }
  if (!isLoopbackHost(node.host) && hasNodeToken && !node.open && node.tls === undefined) {
    warnings.push(
      'node.tokenFile without node.tls: the token travels unencrypted; give node.tls, or keep it behind a proxy that speaks TLS',
    )
  }
  if (events.sasl !== undefined && events.tls === undefined) warnings.push('events.sasl without events.tls: the login travels unencrypted')
  if (grid.mode !== 'local' && !hasGridSecret) {
    warnings.push(
      'no grid secret: whoever reaches the grid can forge segments and latest values; give grid.secretFile or FOREBAY_GRID_SECRET',
    )
  }
  if (grid.mode === 'embedded' && !isLoopbackHost(grid.member.host)) {
    warnings.push(
      `grid.member.host ${grid.member.host} can be reached from other machines, and a member has no authentication: keep it on a private network`,
    )
  }
  return warnings
}

/** Doors that other machines reach need a key, or a word that they need none. */
function doorProblems({ node, grid }: ConfigValues, { hasGridSecret, hasNodeToken }: GivenSecrets): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (!isLoopbackHost(node.host) && !hasNodeToken && !node.open) {
    problems.push({
      path: ['node', 'host'],
      message: `other machines reach ${node.host}, and the pages would ask nobody who they are: give node.tokenFile (or FOREBAY_NODE_TOKEN), or say node.open: true`,
    })
  }
  const addresses = grid.mode === 'local' ? [] : [...grid.members.map(hostOf), ...(grid.mode === 'embedded' ? [grid.member.host] : [])]
  const reached = addresses.find((host) => !isLoopbackHost(host))
  if (reached !== undefined && !hasGridSecret && !grid.open) {
    problems.push({
      path: ['grid', 'secretFile'],
      message: `is missing: other machines reach the member at ${reached}, and whoever does could forge jobs; give it (or FOREBAY_GRID_SECRET), or say grid.open: true`,
    })
  }
  return problems
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}

function eventProblems({ events }: ConfigValues, isGiven: (path: KeyPath) => boolean): ConfigProblem[] {
  if (events.kind === 'kafka') {
    const problems = loginProblems(events)
    if (events.brokers.length > 0) return problems
    const message = 'is missing; events.kind kafka needs at least one broker, such as [127.0.0.1:9092]'
    return [{ path: ['events', 'brokers'], message }, ...problems]
  }
  const ofKafka = ['brokers', 'group', 'sasl', 'tls'].filter((key) => isGiven(['events', key]))
  return ofKafka.map((key) => ({ path: ['events', key], message: 'is of no use with events.kind postgres; leave it out, or choose kafka' }))
}

function loginProblems({ sasl }: ConfigValues['events']): ConfigProblem[] {
  if (sasl === undefined) return []
  const isBearer = sasl.mechanism === 'oauthbearer'
  const unused = (isBearer ? (['username', 'passwordFile'] as const) : (['tokenFile'] as const)).filter((key) => sasl[key] !== undefined)
  const problems: ConfigProblem[] = unused.map((key) => ({
    path: ['events', 'sasl', key],
    message: `is of no use with events.sasl.mechanism ${sasl.mechanism}; leave it out`,
  }))
  if (isBearer && sasl.tokenFile === undefined)
    problems.push({ path: ['events', 'sasl', 'tokenFile'], message: 'is missing; oauthbearer needs the file that the token is written to' })
  return problems
}

function databaseProblems({ database }: ConfigValues): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (database.url !== undefined && database.urlFile !== undefined) {
    problems.push({ path: ['database', 'urlFile'], message: 'give either database.url or database.urlFile, not both' })
  }
  if (database.url !== undefined && hasPassword(database.url)) {
    problems.push({
      path: ['database', 'url'],
      message: 'has a password in it; put the URL into a file named by database.urlFile, or into FOREBAY_DATABASE_URL',
    })
  }
  if (database.lockTimeout > database.statementTimeout) {
    problems.push({ path: ['database', 'lockTimeout'], message: 'is longer than database.statementTimeout, which would always come first' })
  }
  return problems
}

function gridProblems({ grid }: ConfigValues, isGiven: (path: KeyPath) => boolean): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const { mode, members, member } = grid
  if (grid.lease < 2 * grid.beat)
    problems.push({ path: ['grid', 'lease'], message: 'must be at least twice grid.beat, or one late beat costs a node all it owns' })
  const unused = [
    ...(mode === 'local' ? [['members']] : []),
    ...(mode === 'embedded' ? [] : [['member', 'classPath']]),
    // The member that a node runs beside itself is one of the community edition.
    ...(mode === 'client' ? [] : [['tls']]),
  ]
  for (const path of unused.map((keys) => ['grid', ...keys]).filter(isGiven)) {
    problems.push({
      path,
      message: `is of no use with grid.mode ${mode}; leave it out, or choose ${path.includes('tls') ? 'client' : mode === 'local' ? 'embedded or client' : 'embedded'}`,
    })
  }
  if (mode === 'local') return problems
  if (members.length === 0)
    problems.push({ path: ['grid', 'members'], message: `is missing; grid.mode ${mode} needs the members, such as [127.0.0.1:5701]` })
  if (mode !== 'embedded') return problems
  const own = `${member.host}:${member.port}`
  if (members.length > 0 && !members.includes(own))
    problems.push({ path: ['grid', 'members'], message: `does not name this node's own member ${own} (grid.member.host and port)` })
  if (member.classPath === undefined)
    problems.push({
      path: ['grid', 'member', 'classPath'],
      message: 'is missing; grid.mode embedded needs the class path with the jar of Hazelcast',
    })
  return problems
}

function hasPassword(url: string): boolean {
  return URL.canParse(url) ? new URL(url).password !== '' || new URL(url).searchParams.has('password') : /:\/\/[^/]*:[^/]*@/.test(url)
}
