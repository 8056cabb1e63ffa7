/**
 * Runs tests on another version of Node, which npx fetches: `npm run test:node -- 22 [file ...]`. Without files the fast project.
 * Whatever the tests start (sandboxes, nodes, commands) runs on that version too, since it is started by `process.execPath`.
 */
import { spawnSync } from 'node:child_process'

const [version = '', ...files] = process.argv.slice(2)
if (!/^\d+(\.\d+){0,2}$/.test(version)) {
  console.error('Name the version of Node first: npm run test:node -- 22')
  process.exit(64)
}
const what = files.length === 0 ? ['--project', 'fast'] : files
const { status } = spawnSync('npx', ['-y', `node@${version}`, 'node_modules/vitest/vitest.mjs', 'run', ...what], { stdio: 'inherit' })
process.exit(status ?? 1)
