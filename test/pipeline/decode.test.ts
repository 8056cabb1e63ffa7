import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { bytes, EventHeaders, json } from '../../src/index.ts'
import { isForebayError } from '../../src/errors.ts'

const decoder = json(z.object({ symbol: z.string(), legs: z.array(z.object({ size: z.int() })).default([]) }))

const at = { topic: 't', partition: 0, offset: 0n, timestampMs: 0, key: null, keyBytes: null, headers: new EventHeaders(() => []) }

function failureOf(value: Buffer): string {
  try {
    decoder.decode(value)
  } catch (error) {
    expect(isForebayError(error, 'FB_BAD_EVENT')).toBe(true)
    return (error as Error).message
  }
  throw new Error('it was decoded')
}

describe('json', () => {
  it('gives what the schema makes of the value', () => {
    expect(decoder.decode(Buffer.from('{"symbol":"SPY","more":1}'))).toEqual({ symbol: 'SPY', legs: [] })
  })

  it('says where the value is no JSON', () => {
    expect(failureOf(Buffer.from('{"symbol":'))).toMatch(/^the event is not JSON: .*JSON/)
    expect(failureOf(Buffer.alloc(0))).toMatch(/^the event is not JSON/)
  })

  it('refuses bytes that are not UTF-8 instead of replacing them', () => {
    expect(failureOf(Buffer.from([0x7b, 0x22, 0x73, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]))).toBe(
      'the event is not JSON: its bytes are not UTF-8',
    )
  })

  it('takes a replacement character that was really sent', () => {
    expect(decoder.decode(Buffer.from('{"symbol":"\ufffd"}'))).toMatchObject({ symbol: '\ufffd' })
  })

  it('names the path, what was expected and what was there', () => {
    const message = failureOf(Buffer.from('{"symbol":7,"legs":[{"size":1},{"size":"x"}]}'))
    expect(message).toBe(
      'the event does not fit the schema: symbol: expected string, received number; legs[1].size: expected number, received string',
    )
  })

  it('speaks of the whole value when that is at fault', () => {
    expect(failureOf(Buffer.from('null'))).toContain('the whole value: expected object')
  })

  it('shows five problems and counts the rest', () => {
    const legs = Array.from({ length: 9 }, () => ({ size: 'x' }))
    expect(failureOf(Buffer.from(JSON.stringify({ symbol: 'a', legs })))).toMatch(/legs\[4\].*; and 4 more$/)
  })
})

describe('A tombstone', () => {
  it("is JSON's null", () => {
    expect(json(z.object({ a: z.int() }).nullable()).decode(null)).toBeNull()
    expect(() => json(z.object({ a: z.int() })).decode(null)).toThrow('the whole value: expected object, received null')
  })
})

describe('bytes', () => {
  it('hands the bytes to the function', () => {
    expect(bytes((value, { topic }) => topic + value.length).decode(Buffer.from('abc'), at)).toBe('t3')
  })
})
