/**
 * Compares what a node's readers remember with the watermarks, about once a second and with one question for all of them
 * (rule 5). Nobody else notices when a failover of the database forgets what they flushed, or when the floor passes them.
 */
import { isForebayError } from '../errors.ts'
import type { Observer } from '../observer.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import type { QueueReader } from './queue-reader.ts'

export interface WatermarkWatchPorts {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
}

/** How long a reader trusts its memory. */
const lookMs = 1000

export class WatermarkWatch {
  readonly #ports: WatermarkWatchPorts
  readonly #readers = new Set<QueueReader>()

  constructor(ports: WatermarkWatchPorts) {
    this.#ports = ports
  }

  attach(reader: QueueReader): void {
    this.#readers.add(reader)
  }

  detach(reader: QueueReader): void {
    this.#readers.delete(reader)
  }

  /** Throws FB_DATABASE_WRONG and what else no waiting mends. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#ports
    const backoff = new Backoff()
    while (!signal.aborted) {
      await clock.sleep(lookMs, signal)
      if (signal.aborted) return
      try {
        await this.#look()
        backoff.reset()
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        observer.log('debug', `watermarks: ${error.message}`, { code: error.code })
        await clock.sleep(backoff.next(), signal)
      }
    }
  }

  async #look(): Promise<void> {
    const remembered = [...this.#readers].flatMap((reader) => {
      const known = reader.recall()
      return known === undefined ? [] : [{ reader, known }]
    })
    if (remembered.length === 0) return
    const views = await this.#ports.ledger.readAll([...new Set(remembered.map(({ reader }) => reader.id.partition))])
    const byPartition = new Map(views.map((view) => [view.partition, view]))
    for (const { reader, known } of remembered) {
      const view = byPartition.get(reader.id.partition)
      if (view !== undefined) reader.compare(known, view)
    }
  }
}
