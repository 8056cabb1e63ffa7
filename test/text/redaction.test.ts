import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { redactSecrets, rememberSecret } from '../../src/text/redaction.ts'
import { Secret } from '../../src/config/secret.ts'

describe('Secrets in a text', () => {
  it('are blotted out of URLs, parameters, JSON and bearers', () => {
    for (const [text, clean] of [
      ['connect postgres://app:p@ss:w/rd@db:5432/x failed', 'connect postgres://app:***@db:5432/x failed'],
      ['postgres://:pw@db', 'postgres://:***@db'],
      ['"a://u:p@h","b://v:q@i"', '"a://u:***@h","b://v:***@i"'],
      ['http://x/to?next=kafka+ssl://u:p@h', 'http://x/to?next=kafka+ssl://u:***@h'],
      ['see http://127.0.0.1:8080/ and mail a@b', 'see http://127.0.0.1:8080/ and mail a@b'],
      ['https://user@host/ is no password', 'https://user@host/ is no password'],
      ['?sslpassword=hush&x=1', '?sslpassword=***&x=1'],
      [`jaas: username="u" password="hu-sh";`, `jaas: username="u" password="***";`],
      ["host=h password='hush' user=u", "host=h password='***' user=u"],
      ['{"password":"hush","user":"u"}', '{"password":"***","user":"u"}'],
      [String.raw`"{\"client_secret\": \"hush\"}"`, String.raw`"{\"client_secret\": \"***\"}"`],
      ['access_token=abc.def&x', 'access_token=***&x'],
      ['Authorization: Bearer abcdef.123456', 'Authorization: Bearer ***'],
      ['Sec-WebSocket-Protocol: forebay, bearer.YWJjZGVmZ2g', 'Sec-WebSocket-Protocol: forebay, bearer.***'],
      [
        'password authentication failed for user "u"; give node.tokenFile: a token',
        'password authentication failed for user "u"; give node.tokenFile: a token',
      ],
    ])
      expect(redactSecrets(text!)).toBe(clean)
  })

  it('that this process has read are blotted out whatever they stand in, words excepted', () => {
    new Secret('sasl"Password7')
    rememberSecret('postgres')
    rememberSecret('short')
    expect(redactSecrets('SASL said sasl"Password7, in JSON sasl\\"Password7')).toBe('SASL said ***, in JSON ***')
    expect(redactSecrets('postgres is short')).toBe('postgres is short')
  })

  it('of any URL are gone, whatever the password holds', () => {
    const word = fc.stringMatching(/^[a-z]{1,8}$/)
    fc.assert(
      fc.property(
        word,
        word,
        fc.stringMatching(/^[^\s"]{1,40}$/),
        word,
        fc.string(),
        fc.string(),
        (scheme, user, password, host, before, after) => {
          const clean = redactSecrets(`${before} ${scheme}://${user}:#${password}#@${host} ${after}`)
          expect(clean).toContain(`:***@`)
          expect(clean).not.toContain(`#${password}#`)
        },
      ),
    )
  })

  it('take time by the length of the text and no more, whatever it is made of', () => {
    const timeOf = (text: string) => {
      const startedMs = performance.now()
      redactSecrets(text)
      return performance.now() - startedMs
    }
    const parts = [
      'a',
      'a.',
      'a://',
      'a://b:',
      'a://b:c ',
      'a://b:c@',
      '://',
      'a://b@',
      'token=',
      'token=a ',
      'password" ',
      '"token":"',
      '\\',
      'bearer ',
      'Bearer a',
      ' ',
      '@',
      ':',
      '"',
    ]
    for (const part of parts) {
      // Of 2 MB what takes the square of it would take hours.
      expect([part, timeOf(part.repeat(2_000_000 / part.length)) < 5000]).toEqual([part, true])
    }
  })
})
