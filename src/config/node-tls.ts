/** Certificates by which a node serves https, and by which commands know it again. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import { sentenceOf } from '../errors.ts'
import type { ConfigProblem } from './config-issues.ts'

/** All in PEM. */
export interface NodeTls {
  readonly cert: string
  readonly key: string
  /** Undefined: whom Node.js knows, and `cert` itself. */
  readonly ca: string | undefined
}

interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly caFile?: string | undefined
}

/** Reads the files that `node.tls` names; what is wrong with them is added to `problems`. */
export function readNodeTls(files: TlsFiles | undefined, folder: string, problems: ConfigProblem[]): NodeTls | undefined {
  if (files === undefined) return undefined
  const read = (name: keyof TlsFiles, file: string): string => {
    try {
      const text = readFileSync(resolve(folder, file), 'utf8')
      if (text.trim() === '') problems.push({ path: ['node', 'tls', name], message: `${resolve(folder, file)} is empty` })
      return text.trim() === '' ? '' : text
    } catch (error) {
      const message = `${resolve(folder, file)} cannot be read (${(error as NodeJS.ErrnoException).code})`
      problems.push({ path: ['node', 'tls', name], message })
      return ''
    }
  }
  const [cert, key] = [read('certFile', files.certFile), read('keyFile', files.keyFile)]
  const ca = files.caFile === undefined ? undefined : read('caFile', files.caFile)
  if (cert === '' || key === '' || ca === '') return undefined
  try {
    createSecureContext({ cert, key, ...(ca === undefined ? {} : { ca }) })
    return { cert, key, ca }
  } catch (error) {
    problems.push({ path: ['node', 'tls'], message: `certificate and key cannot be used: ${sentenceOf(error)}` })
    return undefined
  }
}
