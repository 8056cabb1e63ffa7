/**
 * A Hazelcast member beside its node (`grid.mode: embedded`): starts it, watches it, restarts it, stops it.
 *
 * Boundary: one JVM process, its pid file and its log. The member is detached, so that a Ctrl-C or the death of the node does
 * not take grid data along; a node that comes back adopts the member that still lives (same pid, same start time) and never
 * starts a second one.
 *
 * States: `starting` (no healthy answer yet, at most `startMs`), `running` (healthy within the last `silentMs`), `waiting`
 * (it died; the next start follows after a growing pause), `stopped`. A member that stays silent is killed and started anew.
 * Silence is counted in polls, not by the clock: a node that was itself suspended must not blame its member.
 */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ForebayError } from '../errors.ts'
import type { Observer } from '../observer.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import { isAlive, readPidFile, removePidFile, startTimeOf, writePidFile } from './pid-file.ts'
import type { PidFile } from './pid-file.ts'
import { serverEnvironment } from './server-environment.ts'

export interface HazelcastMemberOptions {
  /** Unique among the members of this machine; also in the pid file. */
  readonly name: string
  readonly clusterName: string
  /** IP address and port to listen on, such as `127.0.0.1:5701`. */
  readonly address: string
  /** Addresses of all members of the cluster, this one included. */
  readonly members: readonly string[]
  /** Entries a ring holds. */
  readonly capacity: number
  /** Copies of each ring and map on other members, 0 to 6. */
  readonly backups: number
  /** Heap of the JVM in MiB. */
  readonly memberHeapMb: number
  /** Java class path with the jar of Hazelcast. */
  readonly jars: string
  /** The hazelcast.yaml that takes the settings above as system properties. */
  readonly configFile: string
  readonly pidFile: string
  readonly logFile: string
  /** Default `java`. */
  readonly java?: string
  /** How long a start may take. Default 60000. */
  readonly startMs?: number
  /** How long the health check may stay silent before the member is killed. Default 15000. */
  readonly silentMs?: number
  /** How long a graceful stop may take. Default 30000. */
  readonly stopMs?: number
}

export type MemberState = 'starting' | 'running' | 'waiting' | 'stopped'

/** Between two looks whether the process lives. */
const pollMs = 250
/** Between two questions for the health of a member that runs; one that starts is asked at each look. */
const runningPollMs = 1000
const answerMs = 2000
/** A member that was well for so long starts with a short wait again when it dies. */
const wellAfterMs = 10_000
const logBytesMax = 16 * 1024 * 1024
const startsMax = 3

export class HazelcastMember {
  readonly #options: HazelcastMemberOptions
  readonly #clock: Clock
  readonly #observer: Observer
  #state: MemberState = 'stopped'
  #process: PidFile | undefined
  #hasRun = false
  #starts = 0
  #wakeReady: (() => void)[] = []

  constructor(ports: { readonly clock: Clock; readonly observer: Observer }, options: HazelcastMemberOptions) {
    this.#clock = ports.clock
    this.#observer = ports.observer
    this.#options = options
  }

  get state(): MemberState {
    return this.#state
  }

  /** Pid of the JVM; undefined while there is none. */
  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** How many JVMs this supervisor has started; 0 while it lives with an adopted one. */
  get starts(): number {
    return this.#starts
  }

  /** Resolves once the member is healthy; early when `signal` aborts. A start that fails for good is thrown by `run`. */
  async ready(signal: AbortSignal): Promise<void> {
    if (this.#state === 'running' || signal.aborted) return
    await new Promise<void>((resolve) => {
      this.#wakeReady.push(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  /**
   * Keeps the member alive until `signal` aborts, then stops it gracefully. Throws FB_SERVER_START when it has never come up
   * and failed three times; FB_TOOL_MISSING when Java cannot be run.
   */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(500, 10_000)
    try {
      while (!signal.aborted) {
        this.#state = 'starting'
        this.#process = this.#adopt() ?? (await this.#start())
        const failure = await this.#watch(this.#process, signal, backoff)
        if (signal.aborted) return
        await this.#end(this.#process, 'SIGKILL')
        this.#state = 'waiting'
        if (!this.#hasRun && this.#starts >= startsMax) throw this.#failure(failure)
        this.#observer.log('warn', `grid member ${this.#options.name} ${failure}; it is started again`, { pid: this.#process.pid })
        this.#process = undefined
        await this.#clock.sleep(backoff.next(), signal)
      }
    } finally {
      if (this.#process) await this.#end(this.#process, 'SIGTERM')
      this.#process = undefined
      this.#state = 'stopped'
    }
  }

  /** The member that an earlier life of this node left running. */
  #adopt(): PidFile | undefined {
    const { pidFile, address, name } = this.#options
    const left = readPidFile(pidFile)
    if (left === undefined || left.role !== 'member' || left.address !== address || !isAlive(left.pid, left.startTime)) return undefined
    this.#observer.log('info', `grid member ${name} still runs and is adopted`, { pid: left.pid })
    return left
  }

  async #start(): Promise<PidFile> {
    const { name, address, pidFile, logFile, java = 'java' } = this.#options
    this.#starts++
    for (const file of [pidFile, logFile]) mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    if (existsSync(logFile) && statSync(logFile).size > logBytesMax) renameSync(logFile, `${logFile}.1`)
    const log = openSync(logFile, 'a', 0o600)
    const child = spawn(java, memberArguments(this.#options), { env: serverEnvironment(), detached: true, stdio: ['ignore', log, log] })
    closeSync(log)
    const startTime = child.pid === undefined ? undefined : startTimeOf(child.pid)
    if (child.pid === undefined || startTime === undefined) {
      const cause = await new Promise<Error>((resolve) => child.once('error', resolve))
      throw new ForebayError(
        'FB_TOOL_MISSING',
        `Grid member ${name} needs Java 17, but \`${java}\` cannot be run (${cause.message}); install a JRE.`,
        { cause },
      )
    }
    child.on('error', () => undefined)
    child.unref()
    const started: PidFile = { role: 'member', name, pid: child.pid, startTime, address }
    writePidFile(pidFile, started)
    return started
  }

  /** Returns why the member has to be started again; undefined once `signal` aborts. */
  async #watch({ pid, startTime }: PidFile, signal: AbortSignal, backoff: Backoff): Promise<string | undefined> {
    const { startMs = 60_000, silentMs = 15_000 } = this.#options
    let silentForMs = 0
    let healthyMs = 0
    let unaskedMs = 0
    while (!signal.aborted) {
      if (!isAlive(pid, startTime)) return 'ended'
      if (this.#state !== 'running' || unaskedMs >= runningPollMs) {
        const askedMs = this.#clock.now()
        const isHealthy = await this.#isHealthy()
        const passedMs = Math.min(this.#clock.now() - askedMs, answerMs) + unaskedMs
        unaskedMs = 0
        silentForMs = isHealthy ? 0 : silentForMs + passedMs
        if (!isAlive(pid, startTime)) return 'ended'
        if (isHealthy) this.#becomeRunning()
        if (isHealthy && (healthyMs += passedMs) >= wellAfterMs) backoff.reset()
        if (silentForMs > (this.#state === 'running' ? silentMs : startMs)) return `was silent for ${Math.round(silentForMs / 1000)} s`
      }
      await this.#clock.sleep(pollMs, signal)
      unaskedMs += pollMs
    }
    return undefined
  }

  #becomeRunning(): void {
    this.#state = 'running'
    this.#hasRun = true
    for (const wake of this.#wakeReady.splice(0)) wake()
  }

  async #isHealthy(): Promise<boolean> {
    try {
      // `/health` alone says ACTIVE before the member has found its cluster.
      const response = await fetch(`http://${this.#options.address}/hazelcast/health/ready`, { signal: AbortSignal.timeout(answerMs) })
      await response.arrayBuffer()
      return response.ok
    } catch {
      return false
    }
  }

  /** Ends the process and waits for its end; SIGKILL when `signal` does not do it in time. */
  async #end({ pid, startTime }: PidFile, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const { stopMs = 30_000, pidFile } = this.#options
    const until = this.#clock.now() + stopMs
    const send = (name: NodeJS.Signals) => {
      if (isAlive(pid, startTime)) process.kill(pid, name)
    }
    send(signal)
    // A suspended process would not see SIGTERM.
    send('SIGCONT')
    while (isAlive(pid, startTime)) {
      if (this.#clock.now() >= until) send('SIGKILL')
      await this.#clock.sleep(20)
    }
    const left = readPidFile(pidFile)
    if (left?.pid === pid && left.startTime === startTime) removePidFile(pidFile)
  }

  #failure(what: string | undefined): ForebayError {
    const { name, address, logFile } = this.#options
    const end = readFileSync(logFile, 'utf8').slice(-2000)
    return new ForebayError(
      'FB_SERVER_START',
      `Grid member ${name} at ${address} did not come up: it ${what} (${startsMax} tries). The end of its log ${logFile}:\n${end}`,
    )
  }
}

/** Arguments of the JVM. Pure. */
export function memberArguments(options: HazelcastMemberOptions): string[] {
  const { address, clusterName, members, capacity, backups, memberHeapMb, configFile, jars } = options
  const properties = {
    'hazelcast.config': configFile,
    'forebay.cluster': clusterName,
    'forebay.interface': address.slice(0, address.lastIndexOf(':')),
    'forebay.port': address.slice(address.lastIndexOf(':') + 1),
    'forebay.public': address,
    'forebay.members': members.join(','),
    'forebay.capacity': capacity,
    'forebay.backups': backups,
  }
  return [
    `-Xmx${memberHeapMb}m`,
    '-XX:+ExitOnOutOfMemoryError',
    '-XX:-UsePerfData',
    '-Djava.awt.headless=true',
    ...moduleFlags,
    ...Object.entries(properties).map(([name, value]) => `-D${name}=${value}`),
    '-cp',
    jars,
    'com.hazelcast.core.server.HazelcastMemberStarter',
  ]
}

/** What Hazelcast asks for on Java 9 and later. */
const moduleFlags = [
  ['--add-modules', 'java.se'],
  ['--add-exports', 'java.base/jdk.internal.ref=ALL-UNNAMED'],
  ['--add-opens', 'java.base/java.lang=ALL-UNNAMED'],
  ['--add-opens', 'java.base/sun.nio.ch=ALL-UNNAMED'],
  ['--add-opens', 'java.management/sun.management=ALL-UNNAMED'],
  ['--add-opens', 'jdk.management/com.sun.management.internal=ALL-UNNAMED'],
].flat()
