/**
 * Which event code of the pipeline has in its hands at this moment: for whoever tells of code that did not come back, a failure
 * outside of every call, or a thread that watches this one. Plain memory, shared with such a thread; written once an event and once a task.
 */

/** A place as it is told: `task` is null while the event is decoded and keyed. */
export interface ConvertingPlace {
  readonly partition: number
  readonly offset: bigint
  readonly task: string | null
  /** False: its conversion is over. */
  readonly isRunning: boolean
  /** The offsets that were converted together with it, where they are known: code that goes on by itself fails after all of them. */
  readonly among?: readonly [first: bigint, last: bigint] | undefined
}

const words = { running: 0, partition: 1, task: 2, beat: 3 } as const
const offsetByte = 16
const memoryBytes = 24
/** Not in a task. */
const noTask = -1

export class Converting {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #offset: BigInt64Array
  #among: ConvertingPlace['among']

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(memoryBytes)) {
    this.memory = memory
    this.#words = new Int32Array(memory, 0, 4)
    this.#offset = new BigInt64Array(memory, offsetByte, 1)
  }

  begin(partition: number, offset: bigint): void {
    this.#offset[0] = offset
    this.#words[words.partition] = partition + 1
    this.#words[words.task] = noTask
    this.#words[words.running] = 1
  }

  /** Events from `first` to `last` are converted in one go. */
  among(first: bigint, last: bigint): void {
    this.#among = [first, last]
  }

  /** The event is at the task of this index. */
  at(task: number): void {
    this.#words[words.task] = task
  }

  end(): void {
    this.#words[words.running] = 0
  }

  /** The thread that converts still turns. */
  beat(): void {
    Atomics.add(this.#words, words.beat, 1)
  }

  get beats(): number {
    return Atomics.load(this.#words, words.beat)
  }

  /** Undefined before the first event. */
  place(tasks: readonly string[]): ConvertingPlace | undefined {
    const partition = Atomics.load(this.#words, words.partition) - 1
    if (partition < 0) return undefined
    const task = tasks[Atomics.load(this.#words, words.task)] ?? null
    return {
      partition,
      offset: Atomics.load(this.#offset, 0),
      task,
      isRunning: Atomics.load(this.#words, words.running) === 1,
      among: this.#among,
    }
  }
}

/** Of this thread: code of a pipeline runs in one event at a time. */
export const converting = new Converting()

/** `offset 7 of partition 0 of topic trades (task rows)` */
export function placeText(topic: string, { partition, offset, task }: Omit<ConvertingPlace, 'isRunning'>): string {
  return `offset ${offset} of partition ${partition} of topic ${topic}${task === null ? '' : ` (task ${task})`}`
}

/** What the header and the section table of a segment may take of its size. */
export const headBytesMax = 4096

/** Bytes of the jobs of one event: with all of them it must fit into one segment. */
export function linesBytesMaxOf(segmentBytesMax: number): number {
  return segmentBytesMax - headBytesMax
}
