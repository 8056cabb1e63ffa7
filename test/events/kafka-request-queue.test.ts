import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { kafkaClient } from '../../src/events/kafka-cluster.ts'

interface Queue {
  push(request: object): void
  fulfillRequest(answer: { correlationId: number; payload: Buffer; size: number }): void
}
const Queues = RequestQueue as unknown as new (options: object) => Queue

beforeEach(() => {
  vi.useFakeTimers()
  // Making a client is what takes the busy loop out.
  kafkaClient({ brokers: ['127.0.0.1:1'], clientId: 'test' })
})
afterEach(() => void vi.useRealTimers())

function queueOf(maxInFlightRequests: number) {
  const sent: number[] = []
  const logger = { debug: () => undefined }
  const queue = new Queues({ maxInFlightRequests, requestTimeout: 1000, enforceRequestTimeout: false, clientId: 'c', broker: 'b', logger })
  const push = (correlationId: number) =>
    queue.push({
      entry: { correlationId, resolve: () => undefined, reject: () => undefined },
      expectResponse: true,
      requestTimeout: 1000,
      sendRequest: () => void sent.push(correlationId),
    })
  return {
    queue,
    sent,
    push,
    answer: (correlationId: number) => queue.fulfillRequest({ correlationId, payload: Buffer.alloc(0), size: 0 }),
  }
}

it('a connection of Kafka without waiting requests sets no timer', () => {
  const { sent, push, answer } = queueOf(5)
  push(1)
  answer(1)
  expect(sent).toEqual([1])
  expect(vi.getTimerCount()).toBe(0)
})

it('a request beyond those that may be under way is sent when one is answered', () => {
  const { sent, push, answer } = queueOf(1)
  push(1)
  push(2)
  expect(sent).toEqual([1])
  answer(1)
  expect(sent).toEqual([1, 2])
  vi.advanceTimersByTime(100)
  expect(vi.getTimerCount()).toBe(0)
})
