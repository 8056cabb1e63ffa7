/** Items of which some end or hang the process that converts them. JavaScript, which every sandbox loads at once. */
import * as z from 'zod'
import { definePipeline, json, postgresTable } from 'forebay'

const item = z.object({ key: z.string(), n: z.int(), kills: z.string().optional() })

const killers = {
  exit: () => process.exit(3),
  abort: () => process.abort(),
  memory: () => {
    const kept = []
    for (;;) kept.push(Array.from({ length: 100_000 }, () => kept.length))
  },
  loop: () => {
    for (;;);
  },
  wait: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  segv: () => {
    process.kill(process.pid, 'SIGSEGV')
    for (;;);
  },
  // These fail outside of every call.
  stray: () => void Promise.reject(new Error('nobody waits for this, password=hidden-word')),
  timer: () => void setTimeout(() => fail(), 1),
}

function fail() {
  throw new Error('a timer of convert')
}

export default definePipeline({
  name: 'killers',
  source: { topic: 'killers', decode: json(item) },
  key: ({ key }) => key,
  tasks: {
    item: {
      every: '15ms',
      sink: postgresTable('items', { columns: { source_partition: 'int', source_offset: 'bigint', n: 'int' } }),
      convert: ({ n, kills }, at) => {
        if (kills !== undefined) killers[kills]()
        return { source_partition: at.partition, source_offset: at.offset, n }
      },
    },
  },
})
