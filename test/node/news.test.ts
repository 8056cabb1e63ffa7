import { describe, expect, it } from 'vitest'
import { membershipNews } from '../../src/node/membership-news.ts'
import { movesText } from '../../src/node/moves.ts'
import { watchedNode } from '../support/watched-node.ts'

const many = Array.from({ length: 40 }, (_, n) => n)

describe('news of nodes and partitions', () => {
  it('tells who joined, who took leave and who died, a line each', () => {
    const seen = { before: ['b', 'c', 'd'], now: ['b', 'e'], hasEntry: (id: string) => id !== 'c' }
    expect(membershipNews(seen)).toEqual([
      'node e joined; 3 nodes now',
      'node c left; 3 nodes now',
      'node d died, or is not heard of any more; 3 nodes now',
    ])
    expect(membershipNews({ ...seen, now: seen.before })).toEqual([])
  })

  it('tells moves in one line, however many', () => {
    expect(movesText({ taken: [3], given: [], queuesTaken: 2, queuesGiven: 0 })).toBe('this node takes partition 3 and 2 queues')
    expect(movesText({ taken: [], given: [1, 2], queuesTaken: 0, queuesGiven: 1 })).toBe('this node gives up partitions 1, 2 and 1 queue')
    expect(movesText({ taken: many, given: [7], queuesTaken: 0, queuesGiven: 0 })).toMatch(/ 18, 19 and 20 more, and gives up partition 7$/)
    expect(movesText({ taken: [], given: [], queuesTaken: 0, queuesGiven: 0 })).toBeUndefined()
  })

  it('a node says what it takes, and that it stops cleanly', async () => {
    const node = watchedNode({ partitions: 3 })
    await node.feed(2000)
    await node.stop()
    expect(node.told().flatMap(({ level, msg }) => (level === 'info' ? [msg] : []))).toEqual([
      'this node takes partitions 0, 1, 2 and 6 queues',
      'this node stops cleanly: what it had received is applied, and its floors are raised',
    ])
  })
})
