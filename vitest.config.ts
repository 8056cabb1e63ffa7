import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/longest-first.ts'

const live = 'test/**/*.live.test.ts'
/** Deadlines in seconds under load, and measurements: beside another file each of them would measure that one. */
const liveAlone = ['cluster', 'explain', 'hazelcast-job-grid', 'node-takeover', 'overload', 'tune'].map(
  (name) => `test/live/${name}.live.test.ts`,
)
const liveTest = { globalSetup: ['test/live/global-setup.ts'], testTimeout: 60_000, hookTimeout: 300_000 }
const simulation = 'test/simulation/**/*.test.ts'
const isCi = process.env['CI'] === 'true'

export default defineConfig({
  resolve: {
    alias: [
      { find: /^forebay$/, replacement: fileURLToPath(new URL('src/index.ts', import.meta.url)) },
      { find: 'forebay/node', replacement: fileURLToPath(new URL('src/start-node.ts', import.meta.url)) },
      { find: 'forebay/schema-registry', replacement: fileURLToPath(new URL('src/schema-registry.ts', import.meta.url)) },
    ],
  },
  test: {
    allowOnly: !isCi,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        // On two cores vitest would take one worker.
        test: {
          name: 'fast',
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
          include: ['test/**/*.test.ts'],
          exclude: [live, simulation, 'test/live/**'],
        },
      },
      {
        extends: true,
        // Schedules and mutants side by side, on a machine of two cores too.
        test: { name: 'simulation', maxWorkers: 2, sequence: { groupOrder: 1 }, include: [simulation], exclude: [live] },
      },
      {
        extends: true,
        test: {
          ...liveTest,
          name: 'live',
          include: [live],
          exclude: liveAlone,
          // After the others: what they take of the processor would be missing where time matters.
          sequence: { groupOrder: 2 },
          // They wait for servers more than they work.
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          ...liveTest,
          name: 'live-alone',
          include: liveAlone,
          sequence: { groupOrder: 3 },
          fileParallelism: false,
        },
      },
    ],
  },
})
