/** Reads the trades of a CSV file, gzipped or not, line by line; memory stays bounded whatever the size of the file. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import { tradeColumns, tradeJson, type TradeLine } from './trade-line.ts'

const header = tradeColumns.join(',')
const wholeNumber = /^\d{1,15}$/
const chunkBytes = 256 * 1024
const lineCharsMax = 4096

export interface TradeFileSummary {
  /** Of the file's bytes: tells it from another. */
  readonly checksum: string
  /** Trades in it, as far as line ends tell. */
  readonly lines: number
}

/** Reads the file once. Throws FB_FEED when it cannot be read. */
export async function summariseTradeFile(path: string): Promise<TradeFileSummary> {
  const hash = createHash('sha256')
  const lineEnd = 10
  let ends = 0
  let last = lineEnd
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: chunkBytes })) hash.update(chunk as Buffer)
    for await (const bytes of bytesOf(path)) {
      for (let at = bytes.indexOf(lineEnd); at >= 0; at = bytes.indexOf(lineEnd, at + 1)) ends++
      last = bytes.at(-1) ?? last
    }
  } catch (cause) {
    throw new ForebayError('FB_FEED', `${path} cannot be read: ${sentenceOf(cause)}.`, { cause })
  }
  return { checksum: hash.digest('hex'), lines: Math.max(0, ends - (last === lineEnd ? 1 : 0)) }
}

/** The trades of the file in its order, in arrays. Throws FB_FEED, naming file and line. The header is line 1. */
export async function* readTradeFile(path: string): AsyncGenerator<readonly TradeLine[]> {
  let rest = ''
  let line = 0
  const parse = (text: string, into: TradeLine[]) => {
    line++
    if (line > 1) into.push(parseTradeLine(path, line, text))
    else if (text.replace(/^\uFEFF/, '') !== header) throw wrong(path, 1, `the columns are ${shown(text)}, not ${header}`)
  }
  try {
    for await (const text of textOf(path)) {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > lineCharsMax) throw wrong(path, line + lines.length + 1, `the line is longer than ${lineCharsMax} characters`)
      const trades: TradeLine[] = []
      for (const each of lines) parse(each.endsWith('\r') ? each.slice(0, -1) : each, trades)
      if (trades.length > 0) yield trades
    }
    const last: TradeLine[] = []
    if (rest !== '') parse(rest, last)
    if (line === 0) throw wrong(path, 1, `the file is empty; its first line must be ${header}`)
    if (last.length > 0) yield last
  } catch (cause) {
    if (isForebayError(cause)) throw cause
    throw new ForebayError('FB_FEED', `${path}:${line + 1}: the file cannot be read further: ${sentenceOf(cause)}.`, { cause })
  }
}

/** One line without its end. Throws FB_FEED. */
export function parseTradeLine(path: string, line: number, text: string): TradeLine {
  const fields = text.split(',')
  if (fields.length !== tradeColumns.length)
    throw wrong(path, line, `${fields.length} columns instead of ${tradeColumns.length}: ${shown(text)}`)
  const [ms, symbol, price, size, exchange, conditions, suspicious] = fields as [string, string, string, string, string, string, string]
  const numberOf = (column: number, value: string) => {
    if (!wholeNumber.test(value)) throw wrong(path, line, `${tradeColumns[column]} is ${shown(value)}, not a whole number`)
    return Number(value)
  }
  if (symbol === '') throw wrong(path, line, 'symbol is empty')
  if (suspicious !== '0' && suspicious !== '1') throw wrong(path, line, `suspicious is ${shown(suspicious)}, not 0 or 1`)
  const msSinceMidnight = numberOf(0, ms)
  if (msSinceMidnight >= 86_400_000) throw wrong(path, line, `ms_since_midnight is ${ms}, but a day has 86400000 ms`)
  const json = tradeJson(msSinceMidnight, symbol, numberOf(2, price), numberOf(3, size), exchange, conditions, suspicious === '1')
  return { line, msSinceMidnight, symbol, json }
}

async function* textOf(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for await (const bytes of bytesOf(path)) yield decoder.decode(bytes, { stream: true })
  yield decoder.decode()
}

async function* bytesOf(path: string): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { highWaterMark: chunkBytes })
  try {
    yield* (await isGzipped(path)) ? pipeline(file, createGunzip({ chunkSize: chunkBytes }), () => undefined) : file
  } finally {
    file.destroy()
  }
}

async function isGzipped(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

function wrong(path: string, line: number, what: string): ForebayError {
  return new ForebayError('FB_FEED', `${path}:${line}: ${what}.`)
}
