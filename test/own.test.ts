import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { databaseRefusal } from '../src/database/database-refusal.ts'
import { loadConfig } from '../src/config/config.ts'
import { configuredTasks } from '../src/config/config-tasks.ts'
import { own } from '../src/own.ts'
import type { Pipeline } from '../src/pipeline/pipeline.ts'
import { rowEncoder } from '../src/sinks/postgres-table/row-encoder.ts'
import { planTable } from '../src/sinks/postgres-table/table-plan.ts'

const inherited = Object.getOwnPropertyNames(Object.prototype)

it('finds what a record holds and nothing that it inherits', () => {
  for (const name of inherited) {
    expect(own({}, name)).toBeUndefined()
    expect(own(Object.fromEntries([[name, 1]]), name)).toBe(1)
  }
})

it('a table takes columns of any name, merged or left out', () => {
  const columns = Object.fromEntries(inherited.map((name) => [name, 'text?' as const]))
  const plan = planTable({ table: 't', columns: { k: 'int', ...columns }, upsertOn: ['k'] })
  expect(plan.columns.slice(1).map(({ name, merge }) => [name, merge])).toEqual(inherited.map((name) => [name, 'last']))
  expect(rowEncoder('t', plan.columns)({ k: 1 })).toBe(`1${'\t\\N'.repeat(inherited.length)}`)
  const all = JSON.parse(`{"k":1,${inherited.map((name) => `${JSON.stringify(name)}:"x"`).join(',')}}`) as object
  expect(rowEncoder('t', plan.columns)(all)).toBe(`1${'\tx'.repeat(inherited.length)}`)
  expect(() => planTable({ table: 't', columns: { a: 'constructor' as 'int' } })).toThrow('has the type "constructor"')
  const merge = { k: 'toString' as 'last' }
  expect(() => planTable({ table: 't', columns: { a: 'int', k: 'int' }, upsertOn: ['a'], merge })).toThrow('none of first')
})

it('a task that the configuration does not name keeps what the pipeline says, whatever its name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'forebay-names-'))
  const file = join(folder, 'c.yaml')
  const task = (name: string) => ({ name, everyMs: 5, rowsMax: 7 })
  const pipeline = { name: 'p', tasks: ['constructor', 'toString', 'valueOf'].map(task) } as unknown as Pipeline
  const chosen = (text: string) => {
    writeFileSync(file, `pipeline: p.ts\nevents: { kind: postgres }\n${text}`)
    return configuredTasks(loadConfig(file, { FOREBAY_DATABASE_URL: 'postgres://me@127.0.0.1/x' }), pipeline)
  }
  expect(chosen('').map(({ everyMs, rowsMax }) => [everyMs, rowsMax])).toEqual([
    [5, 7],
    [5, 7],
    [5, 7],
  ])
  expect(chosen('tasks: { toString: { every: 1s } }\n').map(({ everyMs }) => everyMs)).toEqual([5, 1000, 5])
  for (const name of ['hasOwnProperty', 'propertyIsEnumerable']) expect(() => chosen(`tasks: { ${name}: { every: 1s } }\n`)).toThrow(name)
  expect(({} as { every?: unknown }).every).toBeUndefined()
  rmSync(folder, { recursive: true })
})

it('a state of a database that is no state means nothing', () => {
  for (const code of inherited) expect(databaseRefusal(Object.assign(new Error('x'), { code }), 'asking', 'x')).toBeUndefined()
})
