import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const live = 'test/**/*.live.test.ts'
const simulation = 'test/simulation/**/*.test.ts'
const isCi = process.env['CI'] === 'true'

export default defineConfig({
  resolve: { alias: { forebay: fileURLToPath(new URL('src/index.ts', import.meta.url)) } },
  test: {
    allowOnly: !isCi,
    projects: [
      {
        extends: true,
        test: { name: 'fast', sequence: { groupOrder: 0 }, include: ['test/**/*.test.ts'], exclude: [live, simulation, 'test/live/**'] },
      },
      {
        extends: true,
        // Schedules and mutants side by side, on a machine of two cores too.
        test: { name: 'simulation', maxWorkers: 2, sequence: { groupOrder: 1 }, include: [simulation], exclude: [live] },
      },
      {
        extends: true,
        test: {
          name: 'live',
          include: [live],
          // After the others: what they take of the processor would be missing where time matters.
          sequence: { groupOrder: 2 },
          // One file at a time: each has servers of its own, which together would need more than a small machine has.
          fileParallelism: false,
          globalSetup: ['test/live/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
})
