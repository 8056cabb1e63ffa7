import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))
const sources = filesBelow(src).filter((file) => file.endsWith('.ts'))

/**
 * The rooms from the ground up. A file imports from its own room and from the rooms before it, so that whoever reads a room has to
 * know only what stands below.
 */
const rooms = [
  'text',
  'ground',
  'schedule',
  'troubles',
  'database',
  'ledger',
  'grid',
  'sinks',
  'pipeline',
  'events',
  'ingest',
  'work',
  'sandbox',
  'epochs',
  'cron',
  'replay',
  'dead-letters',
  'config',
  'status',
  'http',
  'node',
  'tune',
  'inspect',
  'doctor',
  'connect',
  'main',
  'launch',
  'cli',
  'schema-registry',
  'entries',
]
/** Files beside the rooms. */
const besides = new Map([
  ...['own.ts', 'at-once.ts', 'thrown.ts', 'errors.ts', 'assert.ts', 'observer.ts'].map((file) => [file, 'ground'] as const),
  ['troubles.ts', 'troubles'],
  ['main.ts', 'main'],
  ['start-node.ts', 'entries'],
  ['index.ts', 'entries'],
  ['schema-registry.ts', 'entries'],
])
/** Arrows that run up, each with its reason. */
const upward = new Map([
  ['ledger/postgres-ledger.ts -> epochs', 'opening an epoch is a call of the ledger, and what it does is a room of its own'],
  ['node/own-progress.ts -> inspect', 'a node names the cause of its own stalls by the judgement that explain prints'],
])
/** The data path and the commands: they know ports. The two rooms of the data path see no clock, no randomness and no environment either. */
const withoutAdapters = ['text', 'ground', 'schedule', 'troubles', 'pipeline', 'ingest', 'work', 'cli']
/** What a file that speaks to a server imports. */
const technologies = /^(pg|pg-copy-streams|kafkajs|hazelcast-client|fastify|ws)$/
const notSpeaking = new Map([
  ['sinks/postgres-table/table-plan.ts', 'quotes the names of columns with pg, and asks no server'],
  ['ledger/schema-sql.ts', 'quotes the name of a user, and asks no server'],
])
/** Tests and people find these words by their noun instead. */
const emptyNames = /^(utils?|helpers?|common|types|misc|shared)\.ts$/

describe('The house', () => {
  it('has no room that is not in the order of rooms', () => {
    expect([...new Set(sources.map(roomOf))].filter((room) => !rooms.includes(room))).toEqual([])
  })

  it('is built upwards: a room imports from the rooms below it', () => {
    const up = sources.flatMap((file) =>
      importsOf(file)
        .filter((target) => rooms.indexOf(roomOf(target)) > rooms.indexOf(roomOf(file)))
        .map((target) => `${file} -> ${roomOf(target)}`),
    )
    expect([...new Set(up)].toSorted()).toEqual([...upward.keys()].toSorted())
  })

  it('has no circle of files', () => {
    expect(circleOf(new Map(sources.map((file) => [file, importsOf(file)])))).toEqual([])
  })

  it('lets the data path and the commands know ports, never who speaks to a server', () => {
    const speaking = new Set(sources.filter((file) => packagesOf(file).some((name) => technologies.test(name)) && !notSpeaking.has(file)))
    const trespasses = sources
      .filter((file) => withoutAdapters.includes(roomOf(file)))
      .flatMap((file) => [file, ...importsOf(file)].filter((target) => speaking.has(target)).map((target) => `${file} -> ${target}`))
    expect(trespasses).toEqual([])
  })

  it('is entered through main.ts only by the commands and by the entry for a node in one’s own process', () => {
    const entrants = sources.filter((file) => importsOf(file).includes('main.ts'))
    expect(entrants.filter((file) => !file.startsWith('cli/') && file !== 'start-node.ts')).toEqual([])
  })

  it('lets the core see no clock, no randomness and no environment', () => {
    const core = sources.filter((file) => /^(ingest|work|schedule|ledger\/ledger\.ts)/.test(file) && file !== 'schedule/clock.ts')
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

  it('tells sinks by their traits, never by their kind', () => {
    const kinds = /'(postgres-table|web-socket)'/
    const named = sources.filter((file) => kinds.test(readFileSync(join(src, file), 'utf8')))
    expect(named.filter((file) => !/^sinks\/.*\/define-/.test(file))).toEqual([])
  })

  it('names files in kebab case', () => {
    expect(sources.filter((file) => !/^[a-z0-9/-]+(\.d)?\.ts$/.test(file))).toEqual([])
  })
})

function roomOf(file: string): string {
  return besides.get(file) ?? file.split('/')[0]!
}

/** Files that import each other in a circle; empty when there is none. */
function circleOf(imports: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const open: string[] = []
  const done = new Set<string>()
  const visit = (file: string): readonly string[] => {
    if (done.has(file)) return []
    if (open.includes(file)) return open.slice(open.indexOf(file))
    open.push(file)
    const circle = (imports.get(file) ?? []).map(visit).find(({ length }) => length > 0)
    open.pop()
    done.add(file)
    return circle ?? []
  }
  return sources.map(visit).find(({ length }) => length > 0) ?? []
}

function packagesOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/^import (?!type\b).*? from '([^.'][^']*)'/gm)].map(([, specifier]) => specifier!)
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
