import { expect, it } from 'vitest'
import { isHostAllowed, isOriginAllowed } from '../../src/config/host-check.ts'

it.each(['127.0.0.1.evil.example', '127.evil.example', 'evil-localhost', 'localhost.evil.example', ''])(
  'the name %s is no loopback name, so that it may be rebound and is refused',
  (host) => {
    expect(isHostAllowed(host, [])).toBe(false)
    if (host) expect(isOriginAllowed(`http://${host}`, '127.0.0.1:8080', [])).toBe(false)
  },
)

it.each(['localhost', 'a.localhost:8080', '127.0.0.1', '127.1.2.3:8080', '[::1]:8080'])('the loopback name %s is allowed', (host) => {
  expect(isHostAllowed(host, [])).toBe(true)
  expect(isOriginAllowed(`http://${host}`, 'node-1:8080', [])).toBe(true)
})

it('an opaque origin is refused, and none at all is a program', () => {
  expect(isOriginAllowed('null', '127.0.0.1:8080', [])).toBe(false)
  expect(isOriginAllowed(undefined, '127.0.0.1:8080', [])).toBe(true)
})

it('a request without a Host comes from no browser, such as a plain probe, and passes', () => {
  expect(isHostAllowed(undefined, [])).toBe(true)
})
