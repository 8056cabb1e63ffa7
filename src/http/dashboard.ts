/**
 * The status page: one static HTML document without any outside asset. Its script and style are named by hash in the
 * content security policy; everything shown is set as text, never as markup.
 *
 * The page itself holds nothing of the node, so it is served without the token, which it asks for where one is wanted. The token stays
 * in the tab (sessionStorage) and goes out in a header, which no foreign page can make a browser send; a WebSocket, which can carry
 * none, is opened with a ticket.
 */
import { createHash } from 'node:crypto'

const style = `
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1b2330; --faint: #667085; --line: #e3e7ee; --good: #12805c; --bad: #c0362c; --up: #d8f3e6; --mark: #2c6bed; }
@media (prefers-color-scheme: dark) { :root { --ground: #10141b; --card: #181e28; --ink: #e6eaf2; --faint: #8e9ab0; --line: #283142; --good: #4cc38a; --bad: #ff7a6e; --up: #1d4a38; --mark: #7aa7ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 78rem; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; margin-bottom: 1rem; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: .95rem; margin: 0 0 .6rem; color: var(--faint); font-weight: 600; }
.state { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); } .faint { color: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin-bottom: .8rem; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; } .tile span { color: var(--faint); }
section { margin-bottom: .8rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--faint); font-weight: 500; } th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
.prices { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .4rem; max-height: 22rem; overflow-y: auto; }
.price { display: flex; justify-content: space-between; gap: .6rem; padding: .3rem .55rem; border: 1px solid var(--line); border-radius: .4rem; transition: background 1s; font-variant-numeric: tabular-nums; overflow: hidden; }
.price.fresh { background: var(--up); transition: none; }
ul { margin: 0; padding-left: 1.1rem; } a { color: var(--mark); }
form { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin-bottom: .8rem; } form[hidden] { display: none; }
input, button { font: inherit; padding: .3rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); color: var(--ink); }
`

const script = `
const byId = (id) => document.getElementById(id)
const number = new Intl.NumberFormat('en')
const shown = (value, unit = '') => value === null || value === undefined ? '–' : (typeof value === 'number' ? number.format(Math.round(value * 10) / 10) : value) + unit
function element(name, text, className) {
  const node = document.createElement(name)
  if (text !== undefined) node.textContent = text
  if (className) node.className = className
  return node
}
function table(id, head, rows, empty) {
  const place = byId(id)
  if (rows.length === 0) return place.replaceChildren(element('p', empty, 'faint'))
  const grid = element('table')
  const lineOf = (cells, name) => { const line = element('tr'); for (const cell of cells) line.append(element(name, String(cell))); return line }
  grid.append(lineOf(head, 'th'), ...rows.map((row) => lineOf(row, 'td')))
  place.replaceChildren(grid)
}
function percentile(histogram, percent) {
  if (!histogram || histogram.count === 0) return null
  let seen = 0
  for (const [value, count] of histogram.buckets) { seen += count; if (seen >= histogram.count * percent / 100) return value }
  return histogram.maxMs
}
const tokenKey = 'forebay token'
let wake = () => undefined
/** The answer to a request with the token, if there is one; without a right one the page asks for it. */
async function ask(path, method = 'GET') {
  const token = sessionStorage.getItem(tokenKey)
  const response = await fetch(path, { method, headers: token === null ? {} : { authorization: 'Bearer ' + token } })
  byId('login').hidden = response.status !== 401
  if (response.status === 401) {
    byId('refused').textContent = token === null ? '' : 'This is not the token.'
    sessionStorage.removeItem(tokenKey)
    await new Promise((resolve) => { const others = wake; wake = () => { others(); resolve() } })
    return ask(path, method)
  }
  if (!response.ok) throw new Error('the node answered ' + response.status)
  return response
}
byId('login').onsubmit = (event) => {
  event.preventDefault()
  sessionStorage.setItem(tokenKey, byId('token').value.trim())
  byId('token').value = ''
  byId('refused').textContent = ''
  const waiting = wake
  wake = () => undefined
  waiting()
}
const own = (record, name) => Object.hasOwn(record, name) ? record[name] : undefined
let before
function rates(status) {
  const now = performance.now()
  const perSecond = (name) => before ? Math.max(0, (status.counters[name] - before.counters[name]) * 1000 / (now - before.at)) : null
  const both = { events: perSecond('events'), rows: perSecond('rows') }
  before = { at: now, counters: status.counters }
  return both
}
function show(status) {
  document.title = status.node + ' · ' + status.pipeline
  byId('title').textContent = status.pipeline + ' on ' + status.node
  byId('about').textContent = 'forebay ' + status.version + ' · epoch ' + shown(status.epoch) + ' · ' + status.members.length + ' live node' + (status.members.length === 1 ? '' : 's')
  byId('state').textContent = status.isReady ? 'ready' : 'not ready'
  byId('state').className = 'state ' + (status.isReady ? 'good' : 'bad')
  byId('reasons').replaceChildren(...status.reasons.map((reason) => element('li', reason, 'bad')))
  const rate = rates(status)
  const lag = status.partitions.some((row) => row.lagEvents !== null) ? status.partitions.reduce((sum, row) => sum + (row.lagEvents ?? 0), 0) : null
  byId('events').textContent = shown(rate.events === null ? null : Math.round(rate.events))
  byId('rows').textContent = shown(rate.rows === null ? null : Math.round(rate.rows))
  byId('lag').textContent = shown(lag)
  byId('memory').textContent = shown(Math.round(status.memory.rssBytes / 1048576), ' MiB')
  byId('buffers').textContent = status.buffers ? shown(Math.round(status.buffers.bytes / 1048576)) + ' / ' + shown(Math.round(status.buffers.bytesMax / 1048576), ' MiB') : '–'
  byId('dead').textContent = shown(status.counters.deadLetters + status.counters.deadEvents)
  byId('repairs').textContent = shown(status.counters.repairs)
  table('tasks', ['task', 'every', 'jobs written', 'latency p50', 'p99', 'tick slip p99', 'flush p99', 'state'], status.tasks.map((row) => [row.task, row.everyMs + ' ms', shown(row.rows),
    shown(percentile(own(status.latency, row.task), 50), ' ms'), shown(percentile(own(status.latency, row.task), 99), ' ms'), shown(row.tickSlipP99Ms, ' ms'), shown(row.flushP99Ms, ' ms'), row.blockedReason ?? row.lastError ?? 'running']), 'No tasks run here.')
  table('partitions', ['partition', 'floor', 'position', 'end', 'lag', 'state'], status.partitions.map((row) => [row.partition, row.floor, row.position, row.endOffset ?? '–', shown(row.lagEvents), row.haltedReason ?? 'running']), 'This node owns no partition at the moment.')
  table('queues', ['queue', 'received', 'pending jobs', 'applied'], status.queues.map((row) => [row.partition + '/' + row.queue, row.received, shown(row.pendingJobs), Object.entries(row.applied).map((entry) => entry.join(' ')).join(', ')]), 'This node owns no queue at the moment.')
  byId('scheduled').hidden = status.cron.length === 0
  const at = (ms) => ms === null ? '–' : new Date(ms).toISOString().replace('.000', '')
  table('cron', ['cron task', 'schedule', 'next', 'last runs of all nodes'], status.cron.map((row) => [row.task, row.expression + ' ' + row.timezone, at(row.nextAtMs),
    [row.trouble, ...row.runs.slice(0, 3).map((run) => at(run.scheduledMs) + ' ' + run.outcome + (run.error === null ? '' : ': ' + run.error))].filter((text) => text !== null).join(' · ')]), 'No cron tasks.')
  for (const row of status.channels) if (!channels.has(row.channel)) listen(row.channel)
}
const channels = new Map()
function summary(value) {
  if (value === null || typeof value !== 'object') return String(value)
  const price = Object.entries(value).find(([name]) => /^price/.test(name))
  if (price && typeof price[1] === 'number') return price[0].endsWith('_e4') || price[0].endsWith('E4') ? (price[1] / 10000).toFixed(2) : String(price[1])
  return Object.values(value).filter((part) => typeof part === 'number').slice(0, 2).join(' · ')
}
function listen(name) {
  const card = element('section')
  const title = element('h2', 'channel ' + name)
  const grid = element('div', undefined, 'prices')
  card.append(title, grid)
  byId('channels').append(card)
  channels.set(name, { cells: new Map(), grid, title })
  connect(name, 500)
}
async function connect(name, waitMs) {
  const channel = channels.get(name)
  let ticket = ''
  if (sessionStorage.getItem(tokenKey) !== null) {
    try {
      ticket = '?ticket=' + (await (await ask('/tickets', 'POST')).json()).ticket
    } catch (error) {
      channel.title.textContent = 'channel ' + name + ' · ' + error.message + ', asking again'
      return void setTimeout(() => connect(name, Math.min(waitMs * 2, 10000)), waitMs)
    }
  }
  const socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/ws/' + encodeURIComponent(name) + ticket)
  let openedAt = 0
  socket.onopen = () => { openedAt = performance.now() }
  socket.onmessage = (message) => {
    const frame = JSON.parse(message.data)
    for (const { key, value } of frame.values) put(channel, key, value, frame.type === 'update')
    channel.title.textContent = 'channel ' + name + ' · ' + channel.cells.size + (channel.cells.size === 1 ? ' key' : ' keys')
  }
  socket.onclose = (event) => {
    channel.title.textContent = 'channel ' + name + ' · disconnected' + (event.reason ? ': ' + event.reason : '') + ', connecting again'
    const next = openedAt && performance.now() - openedAt > 5000 ? 500 : Math.min(waitMs * 2, 10000)
    setTimeout(() => connect(name, next), waitMs)
  }
}
const cellsMax = 500
function put(channel, key, value, isFresh) {
  let cell = channel.cells.get(key)
  if (!cell) {
    if (channel.cells.size >= cellsMax) return
    const box = element('div', undefined, 'price')
    cell = { box, text: element('b') }
    box.append(element('span', key), cell.text)
    channel.cells.set(key, cell)
    const next = [...channel.cells].filter(([other]) => other > key).sort((a, b) => a[0] < b[0] ? -1 : 1)[0]
    channel.grid.insertBefore(box, next ? next[1].box : null)
  }
  cell.text.textContent = summary(value)
  if (!isFresh) return
  cell.box.classList.add('fresh')
  requestAnimationFrame(() => requestAnimationFrame(() => cell.box.classList.remove('fresh')))
}
async function refresh() {
  try {
    show(await (await ask('/status')).json())
  } catch (error) {
    byId('state').textContent = 'no answer: ' + error.message
    byId('state').className = 'state bad'
  }
  setTimeout(refresh, 1000)
}
refresh()
`

const tile = (id: string, label: string) => `<div class="tile"><b id="${id}">–</b><span>${label}</span></div>`

/** The page, the same for every node. */
export const dashboardHtml = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>forebay</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header><h1 id="title">forebay</h1><span id="state" class="state">connecting</span><span id="about" class="faint"></span></header>
<form id="login" hidden><label>Token of the node <input id="token" type="password" autocomplete="off" required></label><button>Look</button><span id="refused" class="bad"></span></form>
<ul id="reasons"></ul>
<div class="tiles">
${tile('events', 'events/s')}${tile('rows', 'jobs written/s')}${tile('lag', 'events behind')}${tile('memory', 'resident')}${tile('buffers', 'buffers of at most')}${tile('repairs', 'repairs')}${tile('dead', 'dead letters')}
</div>
<div id="channels"></div>
<section><h2>Tasks</h2><div id="tasks"></div></section>
<section id="scheduled" hidden><h2>Scheduled</h2><div id="cron"></div></section>
<section><h2>Partitions read here</h2><div id="partitions"></div></section>
<section><h2>Queues applied here</h2><div id="queues"></div></section>
<footer class="faint">This node only. Machine-readable: <a href="/status">/status</a> · <a href="/metrics">/metrics</a> · <a href="/readyz">/readyz</a></footer>
<noscript>This page needs JavaScript; <a href="/status">/status</a> does not.</noscript>
<script>${script}</script>
</body>
</html>
`

/** Sources for the content security policy that admit exactly this page's script and style. */
export const dashboardHashes = { script: hashSource(script), style: hashSource(style) } as const

function hashSource(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}
