/**
 * How latest values travel: lines of jobs, entries of the fan-out ring, values of the grid's snapshot map.
 *
 * A ring entry: 32 bytes HMAC-SHA256 · JSON. A value of the map: the HMAC in base64 · JSON. The HMAC is of the JSON and of the place it
 * was made for, the name of the ring, or that of the map with the key: a copy in another place is foreign.
 */
import type { JobLines } from '../../grid/segment.ts'
import { isSignatureOf, signatureBytes, signatureOf } from '../../grid/signature.ts'
import { isNewer, type LatestValue } from './latest-values.ts'

/** [partition, offset, record time, value as JSON text] */
type WireValue = readonly [number, string, number, string]

/** The newest value of each key among `jobs`, whose lines are `["key",value]`. */
export function newestOf(jobs: readonly JobLines[]): Map<string, LatestValue> {
  const newest = new Map<string, Found>()
  // From the end: the first line met of a key is the newest of its section, the others need no look.
  for (let section = jobs.length - 1; section >= 0; section--) findNewest(jobs[section]!, newest)
  const values = new Map<string, LatestValue>()
  for (const [key, { lines, index, json }] of newest) values.set(key, { ...positionOf(lines, index), json: unshared(json) })
  return values
}

interface Found {
  lines: JobLines
  index: number
  json: string
}

function findNewest(lines: JobLines, newest: Map<string, Found>): void {
  const text = lines.bytes.toString('utf8')
  let end = text.length - 1
  for (let index = lines.count - 1; index >= 0; index--) {
    const start = end === 0 ? 0 : text.lastIndexOf('\n', end - 1) + 1
    const keyEnd = endOfKey(text, start + 1, end)
    const rawKey = text.slice(start + 2, keyEnd)
    const key = rawKey.includes('\\') ? parsed(`"${rawKey}"`) : rawKey
    const found = typeof key === 'string' ? newest.get(key) : undefined
    if (typeof key !== 'string' || keyEnd >= end) {
      // No line of ours.
    } else if (!found) newest.set(unshared(key), { lines, index, json: text.slice(keyEnd + 2, end - 1) })
    else if (found.lines !== lines && isNewer(positionOf(lines, index), positionOf(found.lines, found.index))) {
      Object.assign(found, { lines, index, json: text.slice(keyEnd + 2, end - 1) })
    }
    end = start - 1
  }
}

/** Index of the quote that ends the JSON string opened at `open`; `end` or beyond where there is none before it. */
function endOfKey(text: string, open: number, end: number): number {
  let at = open + 1
  while (at < end && text.charCodeAt(at) !== 34) at += text.charCodeAt(at) === 92 ? 2 : 1
  return at
}

function positionOf(lines: JobLines, index: number) {
  return { partition: lines.partition, offset: lines.offset(index), timeMs: lines.timeMs(index) }
}

/** A copy: a slice would keep the text of the whole batch in memory for as long as the value lives. */
function unshared(text: string): string {
  return Buffer.from(text).toString('utf8')
}

/** What latest values are signed with, and for. */
export interface LatestSeal {
  readonly secret: string
  /** Name of the ring or map: it names scope and channel. */
  readonly place: string
}

const signatureChars = Math.ceil(signatureBytes / 3) * 4

/** A value of the map at `key`. */
export function encodeLatest(seal: LatestSeal, key: string, value: LatestValue): string {
  const json = wireJson(value)
  return signatureOf(seal.secret, placeText(seal, key), json).toString('base64') + json
}

/** Undefined when `text` is damaged, was made with another secret, or for another place or key. */
export function decodeLatest(seal: LatestSeal, key: string, text: string): LatestValue | undefined {
  const json = text.slice(signatureChars)
  const signature = Buffer.from(text.slice(0, signatureChars), 'base64')
  return isSignatureOf(signature, seal.secret, placeText(seal, key), json) ? fromWire(parsed(json)) : undefined
}

/** Ring entries of at most about `entryBytesMax` that hold all `values`. */
export function encodeFanout(seal: LatestSeal, values: Iterable<readonly [string, LatestValue]>, entryBytesMax: number): Buffer[] {
  const entries: Buffer[] = []
  let parts: string[] = []
  let bytes = signatureBytes
  for (const [key, value] of values) {
    const part = `[${JSON.stringify(key)},${wireJson(value)}]`
    const partBytes = Buffer.byteLength(part) + 1
    if (bytes + partBytes > entryBytesMax && parts.length > 0) {
      entries.push(signedEntry(seal, parts))
      parts = []
      bytes = signatureBytes
    }
    bytes += partBytes
    parts.push(part)
  }
  if (parts.length > 0) entries.push(signedEntry(seal, parts))
  return entries
}

/** The values of a ring entry, or undefined when it is damaged, was made with another secret or for another ring. */
export function decodeFanout(seal: LatestSeal, entry: Buffer): [string, LatestValue][] | undefined {
  const json = entry.subarray(signatureBytes)
  if (!isSignatureOf(entry.subarray(0, signatureBytes), seal.secret, placeText(seal), json)) return undefined
  const wire = parsed(json.toString('utf8'))
  if (!Array.isArray(wire)) return undefined
  const values: [string, LatestValue][] = []
  for (const pair of wire as unknown[]) {
    const value = Array.isArray(pair) ? fromWire(pair[1]) : undefined
    if (!value || !Array.isArray(pair) || typeof pair[0] !== 'string') return undefined
    values.push([pair[0], value])
  }
  return values
}

function signedEntry(seal: LatestSeal, parts: readonly string[]): Buffer {
  const json = Buffer.from(`[${parts.join(',')}]`)
  return Buffer.concat([signatureOf(seal.secret, placeText(seal), json), json])
}

/** JSON says itself where it ends. */
function placeText({ place }: LatestSeal, ...key: readonly string[]): string {
  return JSON.stringify([place, ...key])
}

function wireJson({ partition, offset, timeMs, json }: LatestValue): string {
  return JSON.stringify([partition, String(offset), timeMs, json] satisfies WireValue)
}

function fromWire(wire: unknown): LatestValue | undefined {
  if (!Array.isArray(wire)) return undefined
  const [partition, offset, timeMs, json] = wire as unknown[]
  if (typeof partition !== 'number' || typeof timeMs !== 'number') return undefined
  if (typeof offset !== 'string' || !/^-?\d{1,19}$/.test(offset) || typeof json !== 'string') return undefined
  return { partition, offset: BigInt(offset), timeMs, json }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
