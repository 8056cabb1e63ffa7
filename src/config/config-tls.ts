/** The TLS sections of the configuration: their files, looked at before anything connects. */
import { resolve } from 'node:path'
import { checkTlsFiles } from '../database/tls-identity.ts'
import type { TlsFiles } from '../database/tls-identity.ts'
import type { ConfigProblem } from './config-issues.ts'
import type { ConfigValues } from './config-schema.ts'

/** A section with its paths made absolute: relative ones are below `folder`. */
export function tlsFilesOf(section: ConfigValues['events']['tls'], folder: string): TlsFiles | undefined {
  if (section === undefined) return undefined
  const { caFile, certFile, keyFile, serverName } = section
  const absolute = (path: string | undefined) => (path === undefined ? undefined : resolve(folder, path))
  return { caFile: absolute(caFile), certFile: absolute(certFile), keyFile: absolute(keyFile), serverName }
}

/** What is wrong with their files, and what deserves a word. */
export function tlsFindings({ events, grid }: ConfigValues, folder: string): { problems: ConfigProblem[]; warnings: string[] } {
  const problems: ConfigProblem[] = []
  const warnings: string[] = []
  for (const [name, section] of [['events', events.tls] as const, ['grid', grid.tls] as const]) {
    const files = tlsFilesOf(section, folder)
    if (files === undefined) continue
    const found = checkTlsFiles(files)
    problems.push(...found.problems.map(({ key, message }) => ({ path: [name, 'tls', key], message })))
    warnings.push(...found.warnings.map(({ key, message }) => `${name}.tls.${key}: ${message}`))
  }
  return { problems, warnings }
}
