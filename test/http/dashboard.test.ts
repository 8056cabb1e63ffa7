/** Runs the page's script against a page of stand-ins, so that a name that it does not have or a path it does not take shows. */
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { dashboardHtml } from '../../src/http/dashboard.ts'
import { nodeStatus } from '../node/node-status.ts'

interface Stand {
  textContent: string
  hidden: boolean
  value: string
  onsubmit?: (event: { preventDefault(): void }) => void
  readonly children: Stand[]
}

function stand(): Stand & Record<string, unknown> {
  const children: Stand[] = []
  return {
    textContent: '',
    hidden: false,
    value: '',
    className: '',
    children,
    classList: { add: () => undefined, remove: () => undefined },
    append: (...more: Stand[]) => void children.push(...more),
    replaceChildren: (...more: Stand[]) => void children.splice(0, Infinity, ...more),
    insertBefore: (one: Stand) => void children.push(one),
  }
}

const textOf = ({ textContent, children }: Stand): string => textContent + children.map(textOf).join(' ')

/** The page in a browser whose node answers with `answer`. */
function open(answer: (path: string, method: string, authorization: string | undefined) => { status: number; body?: unknown }) {
  const ids = new Map<string, ReturnType<typeof stand>>()
  for (const [, id] of dashboardHtml.matchAll(/id="(\w+)"/g)) ids.set(id!, stand())
  const kept = new Map<string, string>()
  const sockets: { url: string; onmessage?: (message: { data: string }) => void }[] = []
  class Socket {
    readonly url: string
    constructor(url: string) {
      this.url = url
      sockets.push(this)
    }
  }
  const page = {
    document: { title: '', getElementById: (id: string) => ids.get(id) ?? null, createElement: stand },
    location: { protocol: 'https:', host: 'node' },
    sessionStorage: {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, text: string) => void kept.set(key, text),
      removeItem: (key: string) => void kept.delete(key),
    },
    fetch: (path: string, { method, headers }: { method: string; headers: { authorization?: string } }) => {
      const { status, body } = answer(path, method, headers.authorization)
      return Promise.resolve({ status, ok: status === 200, json: () => Promise.resolve(JSON.parse(JSON.stringify(body))) })
    },
    WebSocket: Socket,
    setTimeout: () => 0,
    requestAnimationFrame: () => 0,
    performance,
    Intl,
  }
  const [, script] = /<script>([\s\S]*)<\/script>/.exec(dashboardHtml)!
  runInNewContext(script!, page)
  return { ids, kept, sockets, text: (id: string) => textOf(ids.get(id)!) }
}

const status = {
  ...nodeStatus(),
  isReady: true,
  reasons: [],
  channels: [{ channel: 'prices', keys: 1, clients: 0, dropped: 0 }],
}

it('shows what the node says, and the values of its channels', async () => {
  const { text, ids, sockets } = open(() => ({ status: 200, body: status }))
  await expect.poll(() => text('state')).toBe('ready')
  expect(ids.get('login')!.hidden).toBe(true)
  expect(text('title')).toContain(status.node)
  for (const { task } of status.tasks) expect(text('tasks')).toContain(task)
  for (const { partition, queue } of status.queues) expect(text('queues')).toContain(`${partition}/${queue}`)
  await expect.poll(() => sockets.map(({ url }) => url)).toEqual(['wss://node/ws/prices'])
  sockets[0]!.onmessage!({ data: '{"type":"snapshot","values":[{"key":"__proto__","value":{"price":7}}]}' })
  expect(text('channels')).toMatch(/__proto__ 7/)
})

it('asks for the token where one is wanted, sends it in a header, and opens WebSockets with a ticket', async () => {
  const asked: string[] = []
  const { ids, text, kept, sockets } = open((path, method, authorization) => {
    asked.push(`${method} ${path} ${authorization ?? '-'}`)
    if (authorization !== 'Bearer right') return { status: 401 }
    return { status: 200, body: path === '/tickets' ? { ticket: 'once' } : status }
  })
  const enter = async (token: string) => {
    ids.get('token')!.value = token
    ids.get('login')!.onsubmit!({ preventDefault: () => undefined })
    expect(ids.get('token')!.value).toBe('')
    await new Promise((resolve) => setImmediate(resolve))
  }
  await new Promise((resolve) => setImmediate(resolve))
  expect([ids.get('login')!.hidden, text('refused')]).toEqual([false, ''])
  await enter(' wrong ')
  expect([ids.get('login')!.hidden, text('refused'), kept.size]).toEqual([false, 'This is not the token.', 0])
  await enter('right')
  await expect.poll(() => text('state')).toBe('ready')
  expect(ids.get('login')!.hidden).toBe(true)
  await expect.poll(() => sockets.map(({ url }) => url)).toEqual(['wss://node/ws/prices?ticket=once'])
  expect(asked).toEqual(['GET /status -', 'GET /status Bearer wrong', 'GET /status Bearer right', 'POST /tickets Bearer right'])
})
