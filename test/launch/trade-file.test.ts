import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { readTradeFile, summariseTradeFile } from '../../src/launch/trade-file.ts'
import type { TradeLine } from '../../src/launch/trade-line.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay trades '))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const header = 'ms_since_midnight,symbol,price_e4,size,exchange,conditions,suspicious\n'
let files = 0

function write(content: string | Buffer): string {
  const path = join(dir, `${++files}.csv.gz`)
  writeFileSync(path, content)
  return path
}

async function read(path: string): Promise<TradeLine[]> {
  const trades: TradeLine[] = []
  for await (const lines of readTradeFile(path)) trades.push(...lines)
  return trades
}

describe('a file of trades', () => {
  it('gives each line with its number and the seven columns as JSON', async () => {
    const path = write(gzipSync(`${header}14417034,SPY,1674200,210,Q,2000,0\n14726965,BR"K\\A,1,2,,,1\n`))
    expect(await read(path)).toEqual([
      {
        line: 2,
        msSinceMidnight: 14_417_034,
        symbol: 'SPY',
        json: '{"ms_since_midnight":14417034,"symbol":"SPY","price_e4":1674200,"size":210,"exchange":"Q","conditions":"2000","suspicious":false}',
      },
      {
        line: 3,
        msSinceMidnight: 14_726_965,
        symbol: 'BR"K\\A',
        json: '{"ms_since_midnight":14726965,"symbol":"BR\\"K\\\\A","price_e4":1,"size":2,"exchange":"","conditions":"","suspicious":true}',
      },
    ])
  })

  it.each([
    ['plain', (text: string) => text],
    ['gzipped', (text: string) => gzipSync(text)],
    ['with Windows line ends', (text: string) => text.replaceAll('\n', '\r\n')],
    ['without an end of the last line', (text: string) => text.trimEnd()],
    ['with a byte order mark', (text: string) => `\uFEFF${text}`],
  ])('reads a file %s, larger than one chunk, whole', async (_, form) => {
    const rows = Array.from({ length: 20_000 }, (_, n) => `${n},S${n % 7},${n},1,Q,0,0\n`).join('')
    const path = write(form(header + rows))
    const trades = await read(path)
    expect(trades.map(({ line }) => line)).toEqual(Array.from({ length: 20_000 }, (_, n) => n + 2))
    expect(trades.map(({ msSinceMidnight }) => msSinceMidnight)).toEqual(Array.from({ length: 20_000 }, (_, n) => n))
    expect((await summariseTradeFile(path)).lines).toBe(20_000)
  })

  it('tells files apart by their bytes', async () => {
    const [a, b, again] = [write(`${header}1,A,1,1,Q,0,0\n`), write(`${header}1,A,1,1,Q,0,1\n`), write(`${header}1,A,1,1,Q,0,0\n`)]
    const sums = await Promise.all([a, b, again].map(async (path) => (await summariseTradeFile(path)).checksum))
    expect(sums[0]).toBe(sums[2])
    expect(sums[0]).not.toBe(sums[1])
  })

  it.each([
    ['1,A,1,1,Q,0', ':3: 6 columns instead of 7'],
    ['1,A,1.5,1,Q,0,0', ':3: price_e4 is "1.5", not a whole number'],
    ['1,A,1,-1,Q,0,0', ':3: size is "-1", not a whole number'],
    ['x,A,1,1,Q,0,0', ':3: ms_since_midnight is "x", not a whole number'],
    ['86400000,A,1,1,Q,0,0', ':3: ms_since_midnight is 86400000'],
    ['1,,1,1,Q,0,0', ':3: symbol is empty'],
    ['1,A,1,1,Q,0,yes', ':3: suspicious is "yes", not 0 or 1'],
    ['', ':3: 1 columns instead of 7'],
  ])('names file and line of %j', async (bad, sentence) => {
    const path = write(gzipSync(`${header}1,A,1,1,Q,0,0\n${bad}\n`))
    await expect(read(path)).rejects.toMatchObject({ code: 'FB_FEED', message: expect.stringContaining(`${path}${sentence}`) })
  })

  it('refuses other columns, an empty file, a cut archive, wrong bytes and a missing file', async () => {
    await expect(read(write('time,symbol\n'))).rejects.toThrow(/:1: the columns are "time,symbol"/)
    await expect(read(write(''))).rejects.toThrow(/:1: the file is empty/)
    const whole = gzipSync(header + '1,A,1,1,Q,0,0\n'.repeat(5000))
    await expect(read(write(whole.subarray(0, whole.length - 20)))).rejects.toMatchObject({ code: 'FB_FEED' })
    await expect(read(write(Buffer.concat([Buffer.from(header), Buffer.from([0xff, 0xfe, 10])])))).rejects.toMatchObject({
      code: 'FB_FEED',
    })
    await expect(summariseTradeFile(join(dir, 'nowhere.csv.gz'))).rejects.toMatchObject({ code: 'FB_FEED' })
  })
})
