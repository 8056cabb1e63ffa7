/**
 * Runs the whole of forebay on this machine: `npm start` and `npm run cluster`.
 *
 * Order: lock of the state folder, leftovers of a dead launcher ended, watchdog, servers, tables and topic, (preloaded feed),
 * nodes, run file, feed, until a signal comes or everything is applied (`--drain`). Down again in the reverse order: the feed
 * ends after the publish under way, nodes drain into servers that still run. A second signal makes it quick.
 * Standard output is left to the one line of JSON of a drained run; everything else goes to standard error.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isForebayError } from '../errors.ts'
import { stackOf } from '../thrown.ts'
import { Backbone } from './backbone.ts'
import { claimFeed, feedSourceOf, type FeedSource } from './feed-source.ts'
import type { FeedTarget } from './feed-target.ts'
import { feed, type FeedResult } from './feed.ts'
import { LaunchedNodes } from './launched-nodes.ts'
import { lockFolder } from './launcher-lock.ts'
import { LiveDisplay } from './live-display.ts'
import { type LaunchMode, type LaunchOptions, parseLaunchOptions } from './options.ts'
import { isRunning, recordedProcesses } from './pid-folder.ts'
import { removeRunFile, type RunFile, writeRunFile } from './run-file.ts'
import { liveLine, RunTotals, type RunSummary } from './run-totals.ts'
import { startWatchdog, type Watchdog } from './start-watchdog.ts'
import { discardState, makeState, stateFolder, type StateFolder } from './state-folder.ts'
import { endProcesses } from './watchdog.ts'

const lookMs = 1000
const sameSignalMs = 1000

/** Runs a launcher to its end and sets the exit code of this process. */
export async function launch(mode: LaunchMode): Promise<void> {
  const display = new LiveDisplay()
  try {
    const options = parseLaunchOptions(mode, process.argv.slice(2))
    if (options === undefined) return
    const summary = await new Launch(options, display).run()
    display.close()
    if (summary !== undefined) process.stdout.write(`${JSON.stringify(summary)}\n`)
  } catch (error) {
    display.close()
    process.stderr.write(`${isForebayError(error) ? `${error.message} (${error.code})` : stackOf(error)}\n`)
    process.exitCode = isForebayError(error) ? error.exitCode : 70
  }
}

class Launch {
  readonly #options: LaunchOptions
  readonly #display: LiveDisplay
  readonly #state: StateFolder
  readonly #stop = new AbortController()
  readonly #totals = new RunTotals()
  #writtenRunFile = ''

  constructor(options: LaunchOptions, display: LiveDisplay) {
    this.#options = options
    this.#display = display
    this.#state = stateFolder(process.cwd(), options.mode)
  }

  /** Resolves to the summary of a drained run, else to undefined. */
  async run(): Promise<RunSummary | undefined> {
    const source = await feedSourceOf(this.#options)
    makeState(this.#state)
    let watchdog: Watchdog | undefined
    const unlock = lockFolder(this.#state.root)
    const unlisten = this.#listen()
    try {
      removeRunFile(this.#state.runFile)
      await this.#endLeftovers()
      if (this.#options.isFresh) {
        discardState(this.#state)
        makeState(this.#state)
      }
      claimFeed(join(this.#state.dir, 'feed.json'), source)
      watchdog = startWatchdog(this.#state.root, this.#state.pids)
      return await this.#withBackbone(source)
    } finally {
      removeRunFile(this.#state.runFile)
      await watchdog?.end()
      unlock()
      unlisten()
    }
  }

  async #withBackbone(source: FeedSource): Promise<RunSummary | undefined> {
    const { mode } = this.#options
    const backbone = await Backbone.start({ mode, state: this.#state, log: this.#say, onRestart: () => undefined })
    try {
      if (this.#stop.signal.aborted) return undefined
      await using target = await backbone.openFeedTarget()
      const lagBefore = await backbone.lag()
      const countBefore = await backbone.count()
      const preloaded = this.#options.isPreloaded ? await this.#feed(source, target) : undefined
      if (this.#stop.signal.aborted) return undefined
      const nodes = await LaunchedNodes.start({
        options: this.#options,
        state: this.#state,
        databaseUrl: backbone.databaseUrl,
        brokers: backbone.brokers,
        hazelcastJars: backbone.jars?.hazelcast,
        log: this.#say,
        onRestart: () => this.#writeRunFile(backbone, nodes),
      })
      try {
        this.#writeRunFile(backbone, nodes)
        this.#greet(nodes)
        const fed = await this.#work(backbone, nodes, preloaded ?? this.#feed(source, target))
        if (fed === undefined) return undefined
        const count = await backbone.count()
        const rows = Object.fromEntries(Object.entries(count.rows).map(([task, number]) => [task, number - (countBefore.rows[task] ?? 0)]))
        const events = lagBefore + fed.published
        return this.#totals.summary({
          events,
          rows,
          deadLetters: count.deadLetters - countBefore.deadLetters,
          isPreloaded: this.#options.isPreloaded,
        })
      } finally {
        this.#display.stopBar()
        removeRunFile(this.#state.runFile)
        if (this.#stop.signal.aborted) this.#say('stopping: the nodes drain, then the servers stop')
        await nodes.stop()
      }
    } finally {
      await backbone.stop()
    }
  }

  /** Until everything is applied (`--drain`; then what was fed) or the launcher is stopped (undefined). */
  async #work(backbone: Backbone, nodes: LaunchedNodes, feeding: FeedResult | Promise<FeedResult>): Promise<FeedResult | undefined> {
    let fed: FeedResult | undefined
    let failure: unknown
    Promise.resolve(feeding).then(
      (result) => (fed = result),
      (error: unknown) => (failure = error),
    )
    let before = this.#totals.moment(performance.now())
    let lookedMs = performance.now()
    const { signal } = this.#stop
    while (!signal.aborted) {
      await sleep(fed !== undefined && this.#options.isDrained ? lookMs / 10 : lookMs, undefined, { signal }).catch(() => undefined)
      if (failure !== undefined) throw failure
      const isApplied = this.#options.isDrained && fed !== undefined && (await backbone.lag().catch(() => 1)) === 0
      if (!isApplied && performance.now() - lookedMs < lookMs * 0.9) continue
      lookedMs = performance.now()
      this.#totals.update(await nodes.statuses())
      for (const misfit of this.#totals.newMisfits()) this.#say(misfit)
      if (isApplied) return fed
      const now = this.#totals.moment(performance.now())
      this.#display.show(liveLine(before, now))
      before = now
      this.#writeRunFile(backbone, nodes)
    }
    await Promise.resolve(feeding).catch(() => undefined)
    return undefined
  }

  async #feed(source: FeedSource, target: FeedTarget): Promise<FeedResult> {
    const { partitions } = target
    const tails = await Promise.all(Array.from({ length: partitions }, (_, partition) => target.lastLine(partition)))
    if (source.lines !== undefined) this.#display.startBar(source.lines)
    this.#say(`feeding ${source.title}${tails.some((line) => line > 0) ? ', going on where an earlier run stopped' : ''}`)
    let isWaiting = false
    const result = await feed(
      {
        lines: source.read(Math.min(...tails)),
        target,
        pace: this.#options.pace,
        onProgress: (_, line) => {
          if (isWaiting) this.#say('the feed goes on')
          isWaiting = false
          this.#display.fed(line)
        },
        onTrouble: (error) => {
          if (!isWaiting) this.#say(`the feed waits: ${error.message}`)
          isWaiting = true
        },
      },
      this.#stop.signal,
    )
    this.#display.stopBar()
    if (!this.#stop.signal.aborted)
      this.#say(`fed ${result.published} lines${result.known > 0 ? `; the log had ${result.known} already` : ''}`)
    return result
  }

  /** Ends what a killed launcher left, so that nothing runs twice. */
  async #endLeftovers(): Promise<void> {
    for (const mode of ['standalone', 'cluster'] as const) {
      const { pids } = stateFolder(process.cwd(), mode)
      const left = recordedProcesses(pids).filter(isRunning)
      if (left.length === 0) continue
      this.#say(`ending ${left.length} processes that an earlier run left behind`)
      await endProcesses(left, pids)
    }
  }

  #writeRunFile(backbone: Backbone, nodes: LaunchedNodes | undefined): void {
    if (nodes === undefined || this.#stop.signal.aborted) return
    const own = [...nodes.handles, ...backbone.handles].map(({ role, name, pid }) => ({ role, name, pid }))
    const members = recordedProcesses(this.#state.pids)
      .filter((entry) => entry.role === 'member' && isRunning(entry))
      .map(({ role, name, pid }) => ({ role, name, pid }))
    const content: RunFile = {
      config: nodes.files,
      postgres: backbone.databaseUrl,
      http: nodes.urls,
      kafka: backbone.brokers ?? null,
      hazelcast: nodes.members,
      processes: [...own, ...members] as RunFile['processes'],
    }
    const text = JSON.stringify(content)
    if (text === this.#writtenRunFile) return
    writeRunFile(this.#state.runFile, content)
    this.#writtenRunFile = text
  }

  #greet(nodes: LaunchedNodes): void {
    const [first] = nodes.urls
    const { mode } = this.#options
    this.#say(`forebay runs (${mode}, ${nodes.urls.length === 1 ? 'one node' : `${nodes.urls.length} nodes`})`)
    for (const url of nodes.urls) this.#say(`  status page   ${url}/`)
    this.#say(`  latest prices ${first?.replace('http', 'ws')}/ws/prices`)
    this.#say(`  everything    ${this.#state.runFile} (addresses, processes, database); logs beside it in ${this.#state.dir}`)
    if (mode === 'standalone')
      this.#say('  this is one process with an event log in Postgres; `npm run cluster` is the real grid and Kafka')
    this.#say('Ctrl-C stops it; the next start goes on where it stopped')
  }

  #listen(): () => void {
    let firstMs = 0
    const stop = (signal: NodeJS.Signals) => {
      // One Ctrl-C may come more than once: from the terminal, from npm and from the bootstrap.
      if (this.#stop.signal.aborted && performance.now() - firstMs < sameSignalMs) return
      if (this.#stop.signal.aborted) {
        // The watchdog ends the rest.
        this.#say('stopped in a hurry; what is left ends within seconds')
        process.exit(130)
      }
      firstMs = performance.now()
      process.exitCode = signal === 'SIGINT' ? 130 : 143
      if (!this.#options.isDrained) process.exitCode = 0
      this.#stop.abort()
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
    for (const signal of signals) process.on(signal, stop)
    return () => {
      for (const signal of signals) process.off(signal, stop)
    }
  }

  readonly #say = (sentence: string): void => this.#display.say(sentence)
}
