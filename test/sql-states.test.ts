import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorCodes } from '../src/errors.ts'
import { noPartition, otherStates, sqlStateMeaning, sqlStateMeanings } from '../src/database/sql-states.ts'

describe('the table of SQLSTATEs', () => {
  it('is the one in ARCHITECTURE.md', () => {
    const rows = [...sqlStateMeanings, noPartition, otherStates].map(({ states, code, meaning }) => {
      const named = states.map((state) => (state.length === 2 ? `${state}…` : state)).join(', ') || 'any other'
      return `| ${named} | \`${code}\` | ${meaning} |`
    })
    const text = readFileSync(resolve(import.meta.dirname, '../ARCHITECTURE.md'), 'utf8')
    expect(text).toContain(['| SQLSTATE | code | what it is |', '|---|---|---|', ...rows].join('\n'))
  })

  it('names every state once, and codes that exist', () => {
    const states = sqlStateMeanings.flatMap((meaning) => meaning.states)
    expect(new Set(states).size).toBe(states.length)
    for (const { code } of sqlStateMeanings) expect(errorCodes[code]).toBeDefined()
  })

  it('takes five characters before two, and blocks for what it does not know', () => {
    expect(sqlStateMeaning('23503', 'fk').code).toBe('FB_BAD_JOB')
    expect(sqlStateMeaning('23502', undefined).code).toBe('FB_SCHEMA')
    expect(sqlStateMeaning('TR001', undefined)).toBe(otherStates)
    expect(errorCodes[otherStates.code].policy).toBe('halt')
  })
})
