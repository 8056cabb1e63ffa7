/** A process that turns, hangs in an event when it is told to, or loses its parent; see hang-watch.test.ts. */
import { converting } from '../../src/ingest/converting.ts'
import { startHangWatch } from '../../src/sandbox/hang-watch.ts'

const [mode, parent] = process.argv.slice(2)
startHangWatch({
  hangTimeoutMs: mode === 'orphan' ? 0 : 1000,
  ...(mode === 'orphan' ? { parentPid: Number(parent) } : {}),
  topic: 'trades',
  tasks: ['rows', 'push'],
})
setInterval(() => undefined, 1000)
setTimeout(() => {
  process.stdout.write('turns\n')
  if (mode === 'turn') return
  converting.begin(3, 41n)
  converting.at(1)
  if (mode === 'wait') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  for (;;);
}, 300)
