import { describe, expect, it } from 'vitest'
import { mutants } from './mutants.ts'
import { summarise } from './summary.ts'

describe('a deliberately broken rule is caught within 1,000 schedules', () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
    '%s',
    async (_, { install, mutate }) => {
      const mend = install?.()
      try {
        const { violations } = await summarise({ firstSeed: 1, schedules: 1_000, mutate, stopsAtViolation: true })
        expect(violations).toHaveLength(1)
      } finally {
        mend?.()
      }
    },
    120_000,
  )
})
