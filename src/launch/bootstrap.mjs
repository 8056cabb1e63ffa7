/**
 * Makes a fresh clone runnable and runs a launcher: `node src/launch/bootstrap.mjs standalone|cluster [options]`.
 *
 * Plain JavaScript that needs nothing but Node: it installs the packages when they are missing or the lock file changed,
 * builds `dist` when a source is newer, then runs `dist/launch/<name>.js`. Two may start at once: one does the work, the
 * other waits. Its own words and those of npm and tsc go to standard error.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const installMark = join(root, 'node_modules', '.forebay-installed')
const buildMark = join(root, 'dist', '.forebay-built')
const lockDir = join(root, '.forebay-setup.lock')
const lockStaleMs = 15 * 60_000
const leastNode = [20, 20]

function say(text) {
  process.stderr.write(`${text}\n`)
}

function fail(text) {
  say(text)
  process.exit(69)
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1])) return
  fail(`forebay needs Node.js ${leastNode.join('.')} or newer; this is ${process.versions.node}.`)
}

function lockFileDigest() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
}

function isInstalled() {
  if (!existsSync(join(root, 'node_modules', '.package-lock.json'))) return false
  if (existsSync(installMark)) return readFileSync(installMark, 'utf8') === lockFileDigest()
  // Installed by hand: good enough when npm finished after the lock file was last written.
  return statSync(join(root, 'node_modules', '.package-lock.json')).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs
}

/** Names and contents of everything the build reads. */
function sourceDigest() {
  const hash = createHash('sha256')
  const add = (path) => hash.update(path.slice(root.length)).update('\0').update(readFileSync(path)).update('\0')
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (entry.name.endsWith('.ts')) add(path)
    }
  }
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json']) add(join(root, file))
  walk(join(root, 'src'))
  return hash.digest('hex')
}

function isBuilt() {
  return existsSync(buildMark) && readFileSync(buildMark, 'utf8') === sourceDigest()
}

function run(command, args) {
  const windows = process.platform === 'win32'
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], shell: windows })
  if (error) fail(`${command} cannot be run: ${error.message}.`)
  return status === 0
}

function install() {
  say('installing packages (npm ci) …')
  rmSync(installMark, { force: true })
  if (!run('npm', ['ci', '--no-audit', '--no-fund'])) fail('npm ci failed; see above. Is the package registry reachable?')
  writeFileSync(installMark, lockFileDigest())
}

function build() {
  say('building …')
  const digest = sourceDigest()
  // The mark goes first: a build that is interrupted must not pass for a whole one.
  rmSync(buildMark, { force: true })
  if (!run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(root, 'tsconfig.build.json')]))
    fail('the build failed; see above.')
  const cli = join(root, 'dist', 'cli', 'main.js')
  if (existsSync(cli)) chmodSync(cli, 0o755)
  writeFileSync(buildMark, digest)
}

/** Takes the lock, or waits until nobody holds it. A holder that was killed is overridden. */
async function locked(work) {
  for (;;) {
    try {
      mkdirSync(lockDir)
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (isStale()) rmSync(lockDir, { recursive: true, force: true })
      else await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  const unlock = () => rmSync(lockDir, { recursive: true, force: true })
  process.on('exit', unlock)
  writeFileSync(join(lockDir, 'pid'), String(process.pid))
  try {
    work()
  } finally {
    unlock()
    process.off('exit', unlock)
  }
}

function isStale() {
  try {
    const ageMs = Date.now() - statSync(lockDir).mtimeMs
    if (ageMs > lockStaleMs) return true
    const pid = Number(readFileSync(join(lockDir, 'pid'), 'utf8'))
    process.kill(pid, 0)
    return false
  } catch (error) {
    // No such process: it was killed. No pid file yet: it was made just now.
    return error.code === 'ESRCH'
  }
}

/** Runs the launcher and becomes as transparent as it can: signals go on to it, its exit code is the exit code. */
function become(name, args) {
  const child = spawn(process.execPath, ['--enable-source-maps', join(root, 'dist', 'launch', `${name}.js`), ...args], { stdio: 'inherit' })
  // A terminal's Ctrl-C reaches the launcher by itself as well; it takes signals that come together for one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => fail(`the launcher cannot be run: ${error.message}.`))
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 1))
}

const [name, ...args] = process.argv.slice(2)
if (name !== 'standalone' && name !== 'cluster') fail('usage: node src/launch/bootstrap.mjs standalone|cluster [options]')
checkNode()
if (!isInstalled() || !isBuilt()) {
  await locked(() => {
    if (!isInstalled()) install()
    if (!isBuilt()) build()
  })
}
become(name, args)
