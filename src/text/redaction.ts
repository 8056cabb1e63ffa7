/**
 * Blots secrets out of what leaves the process: passwords in URLs, what is called a password, secret or token, and the secrets that this
 * process has read itself.
 *
 * The time it takes grows with the length of the text and no faster, whatever is in it: it is given what others threw.
 */
const blot = '***'
/** Shorter ones, and plain words, would tear holes into sentences that hold no secret. */
const rememberedCharsMin = 8
const schemeMax = 32

const remembered = new Set<string>()

/** From now on `secret` is blotted out wherever this process writes it, raw or inside a string of JSON. */
export function rememberSecret(secret: string | undefined): void {
  if (secret === undefined || secret.length < rememberedCharsMin || /^[a-z]*$/.test(secret)) return
  for (const text of [secret, JSON.stringify(secret).slice(1, -1)]) remembered.add(text)
}

/** `text` without passwords in URLs, secret parameters and `secrets`, and without those remembered. */
export function redactSecrets(text: string, secrets: readonly string[] = []): string {
  let clean = withoutParameters(withoutUrlPasswords(text))
  for (const secret of [...secrets, ...remembered]) clean = clean.replaceAll(secret, blot)
  return clean
}

/** `name=value`, `name="value"`, `"name":"value"` and `\"name\":\"value\"`, and what a bearer says of himself. */
const parameter =
  /((?:password|passwd|passphrase|secret|token|api_?key)(?:=|\\{0,4}"\s{0,4}:\s{0,4}))(\\{0,4}["']?)([^\s&"',;}\\]+)|(\bbearer[ .])[\w.~+/=-]{8,}/gi

function withoutParameters(text: string): string {
  return text.replace(parameter, (_all, name: string | undefined, quote: string | undefined, _value, bearer: string | undefined) =>
    bearer === undefined ? `${name}${quote}${blot}` : `${bearer}${blot}`,
  )
}

/** In `scheme://user:password@host` the password may hold anything but blanks and quotes: it ends at the last `@` before one. */
function withoutUrlPasswords(text: string): string {
  let clean = ''
  let from = 0
  let end = 0
  let at = -1
  for (let mark = text.indexOf('://'); mark >= 0; mark = text.indexOf('://', Math.max(mark + 3, from))) {
    if (mark >= end) {
      end = endOfUrl(text, mark)
      // Within the URL alone: looking back from each of many would take the square of their number.
      const last = text.slice(mark, end).lastIndexOf('@')
      at = last < 0 ? -1 : mark + last
    }
    const colon = endOfUser(text, mark + 3, end)
    if (colon < 0 || at <= colon || !isScheme(text, mark)) continue
    clean += `${text.slice(from, colon + 1)}${blot}`
    from = at
    // The whole rest of it is looked at no more.
    mark = end - 3
  }
  return clean + text.slice(from)
}

const urlEnd = /[\s"]/g

function endOfUrl(text: string, from: number): number {
  urlEnd.lastIndex = from
  return urlEnd.exec(text)?.index ?? text.length
}

/** Index of the colon behind the user's name; -1 when no password follows. */
function endOfUser(text: string, from: number, end: number): number {
  for (let index = from; index < end; index++) {
    if (text[index] === ':') return index
    if (text[index] === '/' || text[index] === '@') return -1
  }
  return -1
}

function isScheme(text: string, mark: number): boolean {
  return /[a-z][a-z0-9+.-]*$/i.test(text.slice(Math.max(0, mark - schemeMax), mark))
}
