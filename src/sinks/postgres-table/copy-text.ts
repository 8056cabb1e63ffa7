/**
 * The text format of COPY: fields divided by tabs, `\N` for null, a backslash before what would be taken for more.
 * A line holds no newline and no character below U+0009. Pure.
 */

export const nullField = '\\N'
/** Up to this length a loop over the characters beats a regular expression. */
const shortTextMax = 48
const special = /[\0-\x1f\\\ud800-\udfff]/
const halfPair = /\p{Surrogate}/u

/** Says what a column takes, of a value that it does not; the row encoder says of which column. */
export class Refusal extends Error {}

/** A text as a field. Throws a Refusal when it holds what no Postgres text can: U+0000 or half a surrogate pair. */
export function escapeText(text: string): string {
  if (text.length > shortTextMax) return special.test(text) ? escapeSpecial(text) : text
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 32 || unit === 92 || (unit >= 0xd800 && unit <= 0xdfff)) return escapeSpecial(text)
  }
  return text
}

function escapeSpecial(text: string): string {
  if (halfPair.test(text)) throw new Refusal('it holds half a surrogate pair')
  let escaped = ''
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit === 0) throw new Refusal('Postgres cannot store U+0000')
    if (unit === 92) escaped += '\\\\'
    else if (unit === 9) escaped += '\\t'
    else if (unit === 10) escaped += '\\n'
    else if (unit === 13) escaped += '\\r'
    else if (unit < 9) escaped += `\\x0${unit}`
    else escaped += text[i]
  }
  return escaped
}

/** The value of one field of a line, null for `\N`. */
export function decodeField(field: string): string | null {
  if (!field.includes('\\')) return field
  if (field === nullField) return null
  return field.replace(/\\(x0\d|.)/g, (_, code: string) => {
    if (code === 't') return '\t'
    if (code === 'n') return '\n'
    if (code === 'r') return '\r'
    return code.length === 3 ? String.fromCharCode(Number(code.slice(2))) : code
  })
}
