import { describe, expect, it } from 'vitest'
import { mutantSeeds } from './mutant-seeds.ts'
import { mutants, simulateMutant } from './mutants.ts'
import { importMutated } from './mutated-copy.ts'

describe('a deliberately broken rule is caught within 1,000 schedules', () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
    '%s',
    async (_, mutant) => {
      const seed = mutantSeeds.get(mutant.name)
      const { violations } = await simulateMutant(mutant, { triedFirst: seed, firstSeed: 1, schedules: 1_000 })
      const found = violations[0]?.seed
      if (seed !== undefined && found !== seed)
        process.stdout.write(`mutant ${mutant.name}: seed ${seed} catches it no more, ${found} does\n`)
      expect(violations).toHaveLength(1)
      expect(mutant.caughtBy, violations[0]!.violation).toContain(violations[0]!.rule)
    },
    120_000,
  )

  it('is refused when the expression that keeps the rule is not found', async () => {
    const edit = { file: 'src/ledger/ledger.ts', from: 'no such expression', to: '' }
    await expect(importMutated([edit], 'test/simulation/summary.ts')).rejects.toThrow('holds 0 times')
  })
})
