import { expect, it } from 'vitest'
import { letterText, listText } from '../../src/cli/dead-letters-text.ts'
import type { DeadLetterRow } from '../../src/dead-letters/dead-letters.ts'
import { printable } from '../../src/text/printable.ts'

const letter: DeadLetterRow = {
  id: '1',
  topic: 't',
  partition: 0,
  offset: 1n,
  ordinal: 0,
  task: null,
  isJob: false,
  error: 'not JSON: \u001b[2J',
  payload: Buffer.from('a\tb\n\u001b]52;c;eA==\u0007\u009b1m'),
  isPayloadCut: false,
  traceparent: null,
  eventTimeMs: null,
  createdAt: new Date(0),
  attempts: 1,
  resolvedAt: null,
  resolution: null,
  reason: null,
}

it('lets no control character of an event reach the terminal, and leaves tabs, newlines and letters alone', () => {
  expect(printable('a\tb\nZürich 株 \u001b[31m\u0000')).toBe('a\tb\nZürich 株 \\x1b[31m\\x00')
  const texts = [letterText(letter, { from: 'nowhere', why: 'gone\u001b' } as never, undefined), listText([letter], 1)]
  // oxlint-disable-next-line no-control-regex
  for (const text of texts) expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)
  expect(texts[0]).toContain('a\tb\n\\x1b]52;c;eA==\\x07\\x9b1m')
})
