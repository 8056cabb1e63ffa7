import { describe, expect, it } from 'vitest'
import { FlushSize } from '../../src/work/flush-size.ts'

/** Flushes for `ms` at a database that applies so many rows a second and gives up a flush after 30 s; tells the rows applied. */
function applied(size: FlushSize, rowsPerSecond: number, ms: number): number {
  let rows = 0
  for (let nowMs = 0; nowMs < ms;) {
    const tookMs = Math.min(30_000, (size.rows * 1000) / rowsPerSecond)
    if (tookMs < 30_000) rows += size.rows
    size.took(size.rows, tookMs)
    nowMs += tookMs
  }
  return rows
}

describe('The size of a flush', () => {
  it('stays at its most while the database is fast', () => {
    const size = new FlushSize(50_000)
    applied(size, 100_000, 10_000)
    expect(size.rows).toBe(50_000)
    expect(size.isReduced).toBe(false)
  })

  it('learns nothing from a small flush that was quick', () => {
    const size = new FlushSize(50_000)
    size.took(50_000, 20_000)
    expect(size.rows).toBe(5_000)
    for (let n = 0; n < 10; n++) size.took(100, 10)
    expect(size.rows).toBe(5_000)
    size.took(5_000, 900)
    expect(size.rows).toBe(10_000)
  })

  it('finds what a slow database applies before its time limit, and uses most of it', () => {
    const size = new FlushSize(50_000)
    const rows = applied(size, 500, 120_000)
    // The first flush is lost to the time limit.
    expect(rows).toBeGreaterThan(500 * 80)
    expect(size.isReduced).toBe(true)
    expect(size.rows).toBeLessThanOrEqual(1_000)
  })

  it('comes back within a second of work when the database is fast again', () => {
    const size = new FlushSize(50_000)
    applied(size, 50, 300_000)
    expect(size.rows).toBeLessThan(200)
    applied(size, 100_000, 1_000)
    expect(size.rows).toBe(50_000)
  })

  it('never falls below a few rows, nor below a limit that is smaller still', () => {
    const size = new FlushSize(10)
    size.took(10, 60_000)
    expect(size.rows).toBe(10)
    const other = new FlushSize(1000)
    other.took(1000, 10_000_000)
    expect(other.rows).toBe(64)
  })

  it('learns nothing from a flush without jobs', () => {
    const size = new FlushSize(1000)
    size.took(0, 60_000)
    expect(size.rows).toBe(1000)
  })
})
