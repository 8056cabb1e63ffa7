/**
 * `npm test`: installs the dependencies when they are not, checks the types, runs every test, and ends with one line alone:
 * `N passed, N failed`. Exit code 1 when anything failed. Plain JavaScript that needs no dependency, for it gets them.
 *
 * A step that is no test counts as one when it fails, and so does a test file that breaks before its tests or a run that
 * ends without a result: 0 failed means that everything ran. Without Java 17 or Maven the live tests are left out, which is
 * said aloud; with CI=true that is a failure, and so is every skipped test.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isCi = process.env.CI === 'true'
const toolMissing = 3
const slowestShown = 20
/** `npm test -- --durations` writes how long each file took; whoever makes tests slower shows it in the change. */
const isMeasuring = process.argv.includes('--durations')
/** `npm test -- --project live` runs a part; of durations it writes those of the part. */
const chosen = process.argv.flatMap((word, n, words) => (words[n - 1] === '--project' ? [word] : []))
const durationsFile = join(root, 'test', 'durations.json')
let passed = 0
let failed = 0
let running
let isInterrupted = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    isInterrupted = true
    running?.kill('SIGTERM')
  })
}

try {
  await main()
} catch (error) {
  fail(error instanceof Error ? (error.stack ?? error.message) : String(error))
}
if (isInterrupted) fail('the tests were interrupted')
if (passed === 0 && failed === 0) fail('no test ran')
process.exitCode = failed === 0 ? 0 : 1
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)

async function main() {
  if (!isInstalled()) {
    tell('installing the dependencies (npm ci)')
    const npm = process.env.npm_execpath
    const isDone =
      npm === undefined
        ? await run('npm', ['ci', '--include=dev', '--loglevel=warn'])
        : await run(process.execPath, [npm, 'ci', '--include=dev', '--loglevel=warn'])
    if (isDone !== 0) return fail('npm ci failed: without dependencies no test can run')
  }
  tell('checking the types')
  if ((await runBin('typescript', 'tsc', ['-p', 'tsconfig.json', '--noEmit'])) === 0) passed++
  else fail('the types do not fit')
  if (isInterrupted) return
  await runTests(['live', 'live-alone'].some(isChosen) ? await liveProjects() : [])
}

function isChosen(project) {
  return chosen.length === 0 || chosen.includes(project)
}

/** The live tests, or nothing when their servers cannot be had. */
async function liveProjects() {
  const exitCode = await run(process.execPath, ['--import', 'tsx', 'test/live/provision.ts'])
  if (exitCode === 0) return ['live', 'live-alone']
  if (exitCode !== toolMissing || isCi) {
    fail('the servers of the live tests could not be had: no live test runs')
    return []
  }
  tell('SKIPPED: Java 17 or Maven is missing (see above), so NO test against real servers runs')
  return []
}

async function runTests(live) {
  const folder = mkdtempSync(join(tmpdir(), 'forebay-results-'))
  try {
    const file = join(folder, 'results.json')
    const projects = ['fast', 'simulation', ...live].filter(isChosen).flatMap((name) => ['--project', name])
    const exitCode = await runBin('vitest', 'vitest', [
      'run',
      ...projects,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ])
    const failedBefore = failed
    if (existsSync(file)) {
      const results = JSON.parse(readFileSync(file, 'utf8'))
      tellSlowest(results)
      count(results)
    } else fail('vitest ended without a result')
    if (exitCode !== 0 && failed === failedBefore) fail(`vitest failed (exit code ${exitCode}) outside of the tests`)
    if (live.length === 0 && isChosen('live') && failed === 0) tell('SKIPPED: the live tests, for want of Java 17 or Maven')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whole seconds by file; those of less than half a second are left out. */
function durationsOf(files) {
  const before = chosen.length > 0 && existsSync(durationsFile) ? JSON.parse(readFileSync(durationsFile, 'utf8')) : {}
  const measured = new Map(Object.entries(before))
  for (const { name, seconds } of files) measured.set(name, Math.round(seconds))
  const kept = [...measured].filter(([name, seconds]) => seconds > 0 && existsSync(join(root, name)))
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The slowest files, so that it shows where the time goes. */
function tellSlowest(results) {
  const files = results.testResults.map(({ name, startTime, endTime }) => ({
    name: relative(root, name),
    seconds: (endTime - startTime) / 1000,
  }))
  if (isMeasuring) writeFileSync(durationsFile, `${JSON.stringify(durationsOf(files), null, 2)}\n`)
  const slowest = files.sort((a, b) => b.seconds - a.seconds).slice(0, slowestShown)
  tell(`the slowest files, in seconds:\n${slowest.map(({ name, seconds }) => `${seconds.toFixed(1).padStart(7)}  ${name}`).join('\n')}`)
}

function count(results) {
  passed += results.numPassedTests
  failed += results.numFailedTests
  for (const { name, status, message, assertionResults } of results.testResults) {
    if (status === 'failed' && !assertionResults.some((test) => test.status === 'failed'))
      fail(`${name} broke outside of its tests: ${message}`)
  }
  const skipped = results.numPendingTests + results.numTodoTests
  if (skipped > 0) tell(`SKIPPED: ${skipped} tests did not run`)
  if (isCi && skipped > 0) fail('with CI=true no test may be skipped')
}

/** Whether node_modules has what package-lock.json says, packages for other platforms aside. */
function isInstalled() {
  const installedFile = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installedFile)) return false
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    const found = installed[path]
    return path === '' || (found === undefined ? optional === true : found.version === version && existsSync(join(root, path)))
  })
}

function runBin(name, bin, args) {
  const folder = join(root, 'node_modules', name)
  const { bin: bins } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return run(process.execPath, [join(folder, typeof bins === 'string' ? bins : bins[bin]), ...args])
}

/** Runs a program to its end and gives its exit code; 1 when a signal ended it or it cannot be started. */
function run(command, args) {
  return new Promise((resolve) => {
    running = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
    running.once('error', (error) => {
      process.stderr.write(`${command}: ${error.message}\n`)
      resolve(1)
    })
    running.once('exit', (exitCode) => resolve(exitCode ?? 1))
  })
}

function fail(what) {
  failed++
  process.stderr.write(`\nFAILED: ${what}\n`)
}

function tell(what) {
  process.stderr.write(`\n${what}\n`)
}
