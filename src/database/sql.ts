/** Statements as code of the pipeline writes them: one at a time, in a transaction that is not theirs to end. */
import { ForebayError } from '../errors.ts'

/**
 * One statement in a transaction that forebay began and ends; resolves to its rows. As a template (sql`… ${value}`) or as a text with `$1`,
 * values are sent beside the text, never in it. Throws when the statement fails or would end the transaction.
 */
export interface Sql {
  <Row extends object = Record<string, unknown>>(text: TemplateStringsArray, ...values: readonly unknown[]): Promise<Row[]>
  <Row extends object = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

/** `ask` sends one statement by the extended protocol, so that none can hide behind another. */
export function sqlOf(ask: (text: string, values: readonly unknown[]) => Promise<object[]>): Sql {
  const askInside = async (text: string, values: readonly unknown[]) => {
    refuseTransactionWords(text)
    return ask(text, values)
  }
  const sql = (text: TemplateStringsArray | string, ...rest: unknown[]) => {
    const rows = typeof text === 'string' ? askInside(text, (rest[0] ?? []) as unknown[]) : askInside(numbered(text), rest)
    // A statement that nobody awaits fails the transaction at its end; it must not end the process.
    rows.catch(() => undefined)
    return rows
  }
  return sql as Sql
}

/** The parts of a template with `$1`, `$2` … between them. */
function numbered(parts: readonly string[]): string {
  return parts.reduce((text, part, i) => `${text}$${i}${part}`)
}

const leadingComments = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/
const endsTransaction =
  /^(?:begin|start\s+transaction|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction)\b/i

function refuseTransactionWords(text: string): void {
  const [word] = endsTransaction.exec(text.replace(leadingComments, '')) ?? []
  if (word === undefined) return
  throw new ForebayError(
    'FB_BAD_JOB',
    `"${word.toLowerCase()}" would begin or end the transaction, which is forebay's: leave it out, and throw to roll back`,
  )
}
