/** What the documents tell people to type exists: scripts, commands, options, files and configuration keys. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { forebayCommand } from '../src/cli/run-command.ts'

const root = resolve(import.meta.dirname, '..')
const read = (file: string) => readFileSync(resolve(root, file), 'utf8')
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }

/** Lines of fenced blocks and what stands between backticks, comments cut off. */
function typed(text: string): string[] {
  const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].flatMap(([, block]) => block!.split('\n'))
  const inline = [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`]+)`/g)].map(([, words]) => words!.replaceAll(/\s+/g, ' '))
  return [...blocks, ...inline].map((line) => line.replace(/\s#.*$/, '').trim())
}

const called = /^(?:npx --no-install forebay|node dist\/cli\/main\.js|forebay) (?=[a-z])/

/** The words behind each call of the command. */
function forebayLines(text: string): string[][] {
  return typed(text).flatMap((line) => (called.test(line) ? [line.replace(called, '').split(' ')] : []))
}

function commandOf(words: readonly string[]): { command: Command; rest: readonly string[] } | undefined {
  let command = forebayCommand()
  for (const [i, word] of words.entries()) {
    const next = command.commands.find((child) => child.name() === word)
    if (next === undefined) return i === 0 ? undefined : { command, rest: words.slice(i) }
    command = next
  }
  return { command, rest: [] }
}

describe.each(['README.md', 'ARCHITECTURE.md', 'DECISIONS.md', 'CHANGELOG.md', 'test/simulation/README.md'])('%s', (file) => {
  const text = read(file)

  it('names npm scripts that exist', () => {
    const named = [...text.matchAll(/npm (?:-s )?run (?:-s )?([a-z][\w:-]*)/g)].map(([, name]) => name!)
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([])
  })

  it('names commands and options that exist', () => {
    const wrong: string[] = []
    for (const words of forebayLines(text)) {
      const found = commandOf(words)
      if (found === undefined) {
        wrong.push(`forebay ${words.join(' ')}`)
        continue
      }
      const options = ['--help', ...found.command.options.map(({ long }) => long ?? '')]
      const strange = found.rest.filter((word) => word.startsWith('--') && !options.includes(word.replace(/[=,].*$/, '')))
      wrong.push(...strange.map((option) => `forebay ${found.command.name()} ${option}`))
    }
    expect(wrong).toEqual([])
  })

  it('links to files that exist', () => {
    const linked = [...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path!)
    expect(linked.filter((path) => !existsSync(resolve(root, file, '..', path)))).toEqual([])
  })

  it('names source and test files that exist', () => {
    const named = [...text.matchAll(/`((?:src|test|config|examples)\/[\w./-]+\.(?:ts|mjs|yaml|sql|xml|properties))`/g)].map(
      ([, path]) => path!,
    )
    expect(named.filter((path) => !existsSync(resolve(root, path)))).toEqual([])
  })
})

it('the README shows at least one call of every command', () => {
  const shown = new Set([...read('README.md').matchAll(/(?:forebay|main\.js) ([a-z][a-z-]+)/g)].map(([, name]) => name))
  const all = forebayCommand().commands.map((command) => command.name())
  expect(all.filter((name) => !shown.has(name))).toEqual([])
})
