/**
 * Makes a fresh clone runnable and runs a launcher: `node src/launch/bootstrap.mjs standalone|cluster [options]`.
 *
 * Plain JavaScript that needs nothing but Node, see `fresh-build.mjs`. Its own words and those of npm and tsc go to standard error.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { makeRunnable } from './fresh-build.mjs'

const leastNode = [20, 20]

function fail(text) {
  process.stderr.write(`${text}\n`)
  process.exit(69)
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1])) return
  fail(`forebay needs Node.js ${leastNode.join('.')} or newer; this is ${process.versions.node}.`)
}

/** Runs the launcher and becomes as transparent as it can: signals go on to it, its exit code is the exit code. */
function become(name, args) {
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', fileURLToPath(new URL(`../../dist/launch/${name}.js`, import.meta.url)), ...args],
    { stdio: 'inherit' },
  )
  // A terminal's Ctrl-C reaches the launcher by itself as well; it takes signals that come together for one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => fail(`the launcher cannot be run: ${error.message}.`))
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 1))
}

const [name, ...args] = process.argv.slice(2)
if (name !== 'standalone' && name !== 'cluster') fail('usage: node src/launch/bootstrap.mjs standalone|cluster [options]')
checkNode()
try {
  await makeRunnable()
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}
become(name, args)
