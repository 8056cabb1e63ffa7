/** Texts that COPY's text format could garble: each special part, alone and among letters, at the lengths around the encoder's bounds. */
import fc from 'fast-check'

/** What means something in COPY text, or that a pair of units makes. */
const parts = [
  '\\',
  '\\\\',
  '\\\\\\',
  '\\N',
  '\\.',
  '\\t',
  '\\n',
  '\\x41',
  '\\101',
  '\t',
  '\n',
  '\r',
  '\r\n',
  '\b',
  '\v',
  '\u0001',
  '\u001f',
  '\u007f',
  '\u0085',
  '\u2028',
  'é',
  '😀',
]

/** Around 48 characters the encoder changes its way; beside it lengths of no text, of a word, and beyond any bound of a buffer. */
export const copyLengths = [0, 1, 2, 3, 46, 47, 48, 49, 50, 51, 95, 96, 97, 300]

/** `text` made `length` units long by letters after it; as it is when it is longer already. */
const padded = (before: string, part: string, length: number): string => `${before}${part}`.padEnd(length, 'a')

/** Each part alone, and once as the only special one among letters: at the beginning, in the middle, at the end. */
export const copyExamples: readonly string[] = [
  ...new Set(
    [...parts, ''].flatMap((part) =>
      copyLengths.flatMap((length) => {
        const room = Math.max(0, length - part.length)
        return [0, Math.floor(room / 2), room].map((before) => padded('a'.repeat(before), part, length))
      }),
    ),
  ),
]

/** Any text that Postgres can hold: parts, letters and any other characters, of each of the lengths and of others. */
export function copyText(): fc.Arbitrary<string> {
  const unit = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...parts) },
    { weight: 2, arbitrary: fc.constantFrom('a', 'N', '.', 'x', '0', '1') },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((one) => one !== '\0') },
  )
  const few = fc.tuple(fc.array(unit, { maxLength: 4 }), fc.constantFrom(...copyLengths), fc.nat(100)).map(([units, length, before]) => {
    const special = units.join('')
    return padded('a'.repeat(Math.min(before, Math.max(0, length - special.length))), special, length)
  })
  return fc.oneof(
    few,
    fc.array(unit, { maxLength: 70 }).map((units) => units.join('')),
  )
}

const letters: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }

/**
 * The rows of COPY text as the documentation of PostgreSQL tells it, written without a look at the encoder. Throws at what the server
 * would refuse, or take for the end of the data.
 */
export function readCopyText(text: string): (string | null)[][] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      if (line === '\\.') throw new Error('the end of the data')
      if (line.includes('\r')) throw new Error('a bare carriage return')
      return line.split('\t').map(readField)
    })
}

function readField(field: string): string | null {
  if (field === '\\N') return null
  let text = ''
  for (let i = 0; i < field.length; i++) {
    if (field[i] !== '\\') {
      text += field[i]
      continue
    }
    const rest = field.slice(i + 1)
    if (rest === '') throw new Error('a backslash before the end of a field')
    const code = /^[0-7]{1,3}/.exec(rest)?.[0] ?? /^x[0-9a-fA-F]{1,2}/.exec(rest)?.[0]
    if (code !== undefined)
      text += String.fromCharCode(code.startsWith('x') ? Number.parseInt(code.slice(1), 16) : Number.parseInt(code, 8) & 0xff)
    else text += letters[rest[0]!] ?? rest[0]!
    i += (code ?? rest[0]!).length
  }
  return text
}
