/**
 * The certificates that a client shows and believes, from files in PEM.
 *
 * Boundary: the files are looked at again at each new connection, so that a renewed certificate needs no restart. A file that is
 * missing or half written just then changes nothing: what was read last stays.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { ForebayError, sentenceOf } from '../errors.ts'

/** Absolute paths. All left out: the authorities that Node.js believes, and no certificate of one's own. */
export interface TlsFiles {
  /** Certificates of the authorities that are believed. */
  readonly caFile?: string | undefined
  /** The client's own certificate, with what lies between it and its authority; and its key. */
  readonly certFile?: string | undefined
  readonly keyFile?: string | undefined
  /** Name that the server's certificate must carry. Default: the host that is connected to. */
  readonly serverName?: string | undefined
}

export type TlsKey = 'caFile' | 'certFile' | 'keyFile'

export interface TlsProblem {
  readonly key: TlsKey
  readonly message: string
}

export interface TlsFindings {
  readonly problems: readonly TlsProblem[]
  /** What works, but deserves a word. */
  readonly warnings: readonly TlsProblem[]
}

const keys = ['caFile', 'certFile', 'keyFile'] as const
const certificateBlock = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g

/** Reads the files and says what is wrong with them, each with its path and what to do. */
export function checkTlsFiles(files: TlsFiles, nowMs: number = Date.now()): TlsFindings {
  const problems: TlsProblem[] = []
  const warnings: TlsProblem[] = []
  const texts = new Map<TlsKey, string>()
  for (const key of keys) {
    const path = files[key]
    if (path === undefined) continue
    try {
      texts.set(key, readFileSync(path, 'utf8'))
      if (key === 'keyFile' && (statSync(path).mode & 0o077) !== 0)
        warnings.push({ key, message: `others may read ${path}; run chmod 600 on it` })
    } catch (error) {
      problems.push({ key, message: `${path} cannot be read (${(error as NodeJS.ErrnoException).code})` })
    }
  }
  for (const key of ['caFile', 'certFile'] as const) {
    const text = texts.get(key)
    if (text === undefined) continue
    const { problem, warning } = checkCertificates(files[key]!, text, nowMs)
    if (problem !== undefined) problems.push({ key, message: problem })
    if (warning !== undefined) warnings.push({ key, message: warning })
  }
  const ofPair = pairProblem(files, texts.get('certFile'), texts.get('keyFile'))
  if (ofPair !== undefined) problems.push(ofPair)
  return { problems, warnings }
}

function checkCertificates(path: string, text: string, nowMs: number): { problem?: string; warning?: string } {
  const blocks = text.match(certificateBlock) ?? []
  if (blocks.length === 0)
    return { problem: `${path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----); convert it with openssl x509` }
  for (const [index, block] of blocks.entries()) {
    try {
      const { validTo } = new X509Certificate(block)
      if (Date.parse(validTo) < nowMs) return { warning: `certificate ${index + 1} of ${path} expired on ${validTo}; renew it` }
    } catch (error) {
      return { problem: `certificate ${index + 1} of ${path} is damaged (${sentenceOf(error)})` }
    }
  }
  return {}
}

function pairProblem(files: TlsFiles, cert: string | undefined, key: string | undefined): TlsProblem | undefined {
  const { certFile, keyFile } = files
  if (keyFile === undefined && certFile !== undefined)
    return { key: 'keyFile', message: 'is missing; a certificate is of no use without its key' }
  if (certFile === undefined && keyFile !== undefined)
    return { key: 'certFile', message: 'is missing; a key is of no use without its certificate' }
  if (key === undefined) return undefined
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(key))
    return { key: 'keyFile', message: `${keyFile} is encrypted; give a key without a passphrase, readable by its owner only` }
  try {
    const own = createPrivateKey(key)
    const block = cert?.match(certificateBlock)?.[0]
    if (block === undefined || new X509Certificate(block).checkPrivateKey(own)) return undefined
    return { key: 'keyFile', message: `${keyFile} is not the key of the certificate in ${certFile}` }
  } catch {
    return { key: 'keyFile', message: `${keyFile} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)` }
  }
}

/** What a client needs for its TLS connections to one server; made once, asked at each connection. */
export class TlsIdentity {
  readonly serverName: string | undefined
  readonly #files: TlsFiles
  #context: SecureContext
  #state: string

  /** Throws FB_CONFIG when the files cannot be used. */
  constructor(files: TlsFiles) {
    this.serverName = files.serverName
    this.#files = files
    const [problem] = checkTlsFiles(files).problems
    if (problem !== undefined) throw new ForebayError('FB_CONFIG', `TLS cannot be set up: ${problem.message}`)
    this.#state = stateOf(files)
    this.#context = contextOf(files)
  }

  /** By the files as they are now. */
  get secureContext(): SecureContext {
    const state = stateOf(this.#files)
    if (state === this.#state) return this.#context
    try {
      this.#context = contextOf(this.#files)
      this.#state = state
    } catch {
      // It is being written; the next connection looks again.
    }
    return this.#context
  }
}

function contextOf({ caFile, certFile, keyFile }: TlsFiles): SecureContext {
  const text = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path, 'utf8'))
  return createSecureContext({ ca: text(caFile), cert: text(certFile), key: text(keyFile) })
}

function stateOf(files: TlsFiles): string {
  return keys.map((key) => fileState(files[key])).join(' ')
}

function fileState(path: string | undefined): string {
  if (path === undefined) return '-'
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? 'missing' : `${found.ino}/${found.mtimeMs}/${found.size}`
}
