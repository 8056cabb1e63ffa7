/**
 * Installs the packages when they are missing or the lock file changed, and builds `dist` when a source has changed since. Plain JavaScript that needs nothing but Node. Two may start at once: one does the work, the other waits.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const installMark = join(root, 'node_modules', '.forebay-installed')
const buildMark = join(root, 'dist', '.forebay-built')
const lockDir = join(root, '.forebay-setup.lock')
const lockStaleMs = 15 * 60_000

function say(text) {
  process.stderr.write(`${text}\n`)
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
      else if (/\.(ts|sql)$/.test(entry.name)) add(path)
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
  if (error) throw new Error(`${command} cannot be run: ${error.message}.`)
  return status === 0
}

function install() {
  say('installing packages (npm ci) …')
  rmSync(installMark, { force: true })
  if (!run('npm', ['ci', '--no-audit', '--no-fund'])) throw new Error('npm ci failed; see above. Is the package registry reachable?')
  writeFileSync(installMark, lockFileDigest())
}

function build() {
  say('building …')
  const digest = sourceDigest()
  // The mark goes first: a build that is interrupted must not pass for a whole one.
  rmSync(buildMark, { force: true })
  if (!run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(root, 'tsconfig.build.json')]))
    throw new Error('the build failed; see above.')
  cpSync(join(root, 'src', 'ledger', 'migrations'), join(root, 'dist', 'ledger', 'migrations'), { recursive: true })
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

/** Packages and `dist` are there and new once this resolves. Throws what keeps them from being so, in one sentence. */
export async function makeRunnable() {
  if (isInstalled() && isBuilt()) return
  await locked(() => {
    if (!isInstalled()) install()
    if (!isBuilt()) build()
  })
}

/** The same where the packages are in use already. */
export async function buildIfStale() {
  if (!isBuilt()) await locked(() => isBuilt() || build())
}
