import { expect, it } from 'vitest'
import { RecentShare } from '../../src/status/recent-share.ts'

it('tells the share of the last ten seconds and forgets older ones', () => {
  const share = new RecentShare()
  for (let second = 0; second < 10; second++) share.add(second * 1000 + 900, 500)
  expect(share.share(9900)).toBe(0.5)
  expect(share.share(14_900)).toBe(0.25)
  expect(share.share(60_000)).toBe(0)
  share.add(60_500, 30_000)
  expect(share.share(60_600)).toBe(1)
})
