import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import { settingsOf } from '../config/settings-of.ts'
import type { TableDescription } from '../connect/table.ts'
import { openConfig, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'

interface TableOptions extends TargetOptions {
  readonly json?: boolean
}

const examples = `
Examples:
  forebay table trades                            the columns of the table trades, to paste into a pipeline
  forebay table sales.orders -c config/forebay.yaml
  forebay table 'Order Lines' --json

A column that no type fits is named with the reason. Where a start would refuse the table as a whole, its sentence is printed and
the exit code is 78. The name is that of the catalogue, with its capitals and without quotes. No pipeline is needed; nothing is changed.`

/** Adds `forebay table`. */
export function addTable(program: Command): void {
  withTarget(program.command('table <name>'))
    .description('read a table of the database, and print the columns to declare in postgresTable')
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action(showTable)
}

async function showTable(name: string, options: TableOptions): Promise<void> {
  const settings = settingsOf(openConfig(options))
  const { readTable } = await import('../connect/table.ts')
  const description = await readTable(settings, name)
  process.stdout.write(options.json === true ? `${JSON.stringify(description, null, 2)}\n` : tableText(description))
  if (description.problem !== null) throw new ForebayError('FB_CATALOGUE', description.problem)
}

/** TypeScript to paste, with comments for what is to be decided or known. */
export function tableText({ table, columns, optional, unfit, notes, keys }: TableDescription): string {
  const noteOf = new Map(notes.map(({ column, note }) => [column, note]))
  const lineOf = ([name, type]: [string, string]) => {
    const note = noteOf.get(name)
    return `${keyText(name)}: ${quoted(type)},${note === undefined ? '' : ` // ${note}`}`
  }
  const options = Object.entries(optional).map((entry) => `    // ${lineOf(entry)}`)
  const lines = [
    `postgresTable(${quoted(table)}, {`,
    '  columns: {',
    ...Object.entries(columns).map((entry) => `    ${lineOf(entry)}`),
    ...(options.length === 0 ? [] : ['    // The table fills these by itself; declare them where jobs are to fill them:', ...options]),
    ...unfit.map(({ column, type, reason }) => `    // Left out: ${oneLine(column)} (${oneLine(type)}): ${reason}`),
    '  },',
    ...keys.map((key) => `  // upsertOn: [${key.map(quoted).join(', ')}],`),
    '}),',
  ]
  return `${lines.join('\n')}\n`
}

/** A key `__proto__` in plain would be the prototype. */
function keyText(name: string): string {
  if (name === '__proto__') return `['__proto__']`
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : quoted(name)
}

function quoted(text: string): string {
  return `'${oneLine(text).replaceAll("'", "\\'")}'`
}

/** As in a text of TypeScript: what would end the line is escaped. */
function oneLine(text: string): string {
  return JSON.stringify(text)
    .slice(1, -1)
    .replaceAll('\\"', '"')
    .replaceAll(/[\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16)}`)
}
