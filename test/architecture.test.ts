import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))
const sources = filesBelow(src).filter((file) => file.endsWith('.ts'))

/** An adapter is technology + noun; a `…-definition` is what a pipeline says about one, and belongs to everybody. */
const technology = /^(kafka|postgres|hazelcast|local|web-socket)(-|$)/
/** Only these know adapters of other rooms: who composes a node, who connects a command, and the launcher, which starts the servers. */
const composers = ['main.ts', 'connect', 'launch']
/** The rows of a Postgres table are written in the transaction of the Postgres ledger: the two are one adapter in two rooms. */
const allowed = new Set([
  'sinks/postgres-table.ts -> offsets/postgres-transaction.ts',
  'sinks/postgres-table-check.ts -> offsets/postgres-transaction.ts',
  'sinks/postgres-table-one-by-one.ts -> offsets/postgres-transaction.ts',
  'sinks/postgres-table-screen.ts -> offsets/postgres-transaction.ts',
])
/** Tests and people find these words by their noun instead. */
const emptyNames = /^(utils?|helpers?|common|types|misc|shared)\.ts$/

describe('The house', () => {
  it('has rooms that know ports, never another room’s adapter', () => {
    const trespasses = sources.flatMap((file) =>
      importsOf(file)
        .filter((target) => isForeignAdapter(file, target))
        .map((target) => `${file} -> ${target}`),
    )
    expect(trespasses.filter((trespass) => !allowed.has(trespass))).toEqual([])
  })

  it('is entered through main.ts only by the commands', () => {
    const entrants = sources.filter((file) => importsOf(file).includes('main.ts'))
    expect(entrants.filter((file) => !file.startsWith('cli/'))).toEqual([])
  })

  it('lets the core see no clock, no randomness and no environment', () => {
    const core = sources.filter((file) => /^(ingest|work|schedule|offsets\/ledger)/.test(file) && file !== 'schedule/clock.ts')
    expect(core.length).toBeGreaterThan(5)
    const forbidden = /\b(Date\.now|performance\.now|Math\.random|process\.env|setTimeout|setInterval|new Date\(\))/
    expect(core.filter((file) => forbidden.test(withoutComments(readFileSync(join(src, file), 'utf8'))))).toEqual([])
  })

  it('has no drawer for odds and ends', () => {
    expect(sources.filter((file) => emptyNames.test(file.split('/').at(-1)!))).toEqual([])
  })

  it('keeps what data names in maps: an ordinary object would give what it inherits', () => {
    const dictionary = /^\s*(const|let|(static )?(readonly )?#?\w+:) .*Record<string, [^=]*> = \{\}/m
    expect(sources.filter((file) => dictionary.test(readFileSync(join(src, file), 'utf8')))).toEqual([])
  })

  it('names files in kebab case', () => {
    expect(sources.filter((file) => !/^[a-z0-9/-]+(\.d)?\.ts$/.test(file))).toEqual([])
  })
})

function isForeignAdapter(file: string, target: string): boolean {
  const [room, name] = [target.split('/')[0]!, target.split('/').at(-1)!.replace(/\.ts$/, '')]
  if (file.split('/')[0] === room || composers.includes(file.split('/')[0]!)) return false
  return room !== 'pipeline' && technology.test(name) && !name.endsWith('-definition')
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, specifier]) => specifier!)
  return specifiers.map((specifier) =>
    relative(src, join(src, dirname(file), specifier))
      .split(sep)
      .join('/'),
  )
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => name.split(sep).join('/'))
}
