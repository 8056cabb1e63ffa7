import { describe, expect, it } from 'vitest'
import { tellPressure } from '../../src/node/pressure.ts'
import type { Observer } from '../../src/observer.ts'
import type { Clock } from '../../src/schedule/clock.ts'

/** A node whose windows and waits the test sets; each look happens at a `pass`. */
class Pressed {
  readonly told: string[] = []
  full: readonly number[] = []
  waits = 0
  #nowMs = 0
  #look: (() => void) | undefined
  readonly #stop = new AbortController()
  readonly #done: Promise<void>

  constructor() {
    const clock = {
      now: () => this.#nowMs,
      sleep: (ms: number) => new Promise<void>((resolve) => (this.#look = () => ((this.#nowMs += ms), resolve()))),
    } as unknown as Clock
    const observer = { log: (level: string, message: string) => this.told.push(`${level}: ${message}`) } as unknown as Observer
    const owner = (partition: number) => ({ part: { outboxes: [{ isFull: false }, { isFull: this.full.includes(partition) }] } })
    const owners = () => [0, 1, 2].map((partition) => [partition, owner(partition)] as const)
    this.#done = tellPressure({ owners, waits: () => this.waits, clock, observer }, this.#stop.signal)
  }

  async pass(ms: number, before: () => void = () => undefined): Promise<void> {
    const untilMs = this.#nowMs + ms
    while (this.#nowMs < untilMs) {
      before()
      this.#look!()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async end(): Promise<void> {
    this.#stop.abort()
    this.#look!()
    await this.#done
  }
}

describe('The pressure of a slow database', () => {
  it('is told once when windows stay full, and once when they no longer do', async () => {
    const node = new Pressed()
    await node.pass(10_000)
    expect(node.told).toEqual([])
    node.full = [2, 0]
    await node.pass(60_000)
    expect(node.told).toHaveLength(1)
    expect(node.told[0]).toMatch(/^warn: .*windows of partitions 0, 2 are full, so reading of them waits/)
    node.full = []
    await node.pass(60_000)
    expect(node.told).toHaveLength(2)
    expect(node.told[1]).toMatch(/^info: .*reading of all partitions goes on/)
    await node.end()
  })

  it('is told when windows open at every flush and fill again at once', async () => {
    const node = new Pressed()
    await node.pass(5_000, () => node.waits++)
    expect(node.told.map((line) => line.slice(0, 5))).toEqual(['warn:'])
    await node.end()
  })

  it('is not told of a window that is full for a moment, nor ended by a moment without', async () => {
    const node = new Pressed()
    for (let round = 0; round < 5; round++) {
      node.full = [1]
      await node.pass(1_500)
      node.full = []
      await node.pass(500)
    }
    expect(node.told).toEqual([])
    node.full = [1]
    await node.pass(5_000)
    expect(node.told).toHaveLength(1)
    for (let round = 0; round < 5; round++) {
      node.full = []
      await node.pass(3_000)
      node.full = [1]
      await node.pass(250)
    }
    expect(node.told).toHaveLength(1)
    await node.end()
  })
})
