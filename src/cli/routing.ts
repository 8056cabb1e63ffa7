import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { EventLog } from '../events/event-log.ts'
import { startFloors } from '../events/start-floors.ts'
import type { Database } from '../database/database.ts'
import { fingerprintOf } from '../config/fingerprint-of.ts'
import { dropRequest } from '../epochs/drain.ts'
import { applyRouting, readRoutingPlan } from '../epochs/routing-cut.ts'
import type { RoutingPlan } from '../epochs/routing-cut.ts'
import type { PresentNode } from '../epochs/presence.ts'
import { parseDuration } from '../text/units.ts'
import { SystemClock } from '../schedule/clock.ts'
import { reasonsOf, requester, stopOnSignal, tellOnce } from './operator.ts'
import { paint } from '../text/paint.ts'
import { openTarget, withTarget } from './target.ts'
import type { Target, TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

interface RoutingOptions extends TargetOptions {
  readonly json?: boolean
}

interface ApplyOptions extends RoutingOptions {
  readonly timeout: string
  readonly withoutNodes?: boolean
}

const joinWaitMs = 15_000
const aloneWaitMs = 3000
const planExamples = `
Examples:
  forebay routing plan                            of the run in this folder, or config/forebay.yaml
  forebay routing plan -c config/forebay.yaml --json`
const applyExamples = `
Examples:
  forebay routing apply -c config/forebay.yaml
  forebay routing apply -c config/forebay.yaml --timeout 10m

First edit the configuration and start at least one node with it: it waits. Then apply: the nodes that run stop reading
and drain, the next epoch opens with the new routing, and the nodes that waited take over. The others wait from then on, until
they are started with the new configuration. Ctrl-C withdraws; killed, it is void after ten seconds. The exit code is 75 when the
pipeline did not drain in time.`
const cancelExamples = `
Examples:
  forebay routing cancel -c config/forebay.yaml`

/** Adds `forebay routing plan | apply | cancel`. */
export function addRouting(program: Command): void {
  const routing = program
    .command('routing')
    .description('change the number of queues or other routing of a pipeline while its nodes run')
    .addHelpText('after', `${planExamples}\n  forebay routing apply -c config/forebay.yaml`)
  withTarget(routing.command('plan'))
    .description('show what the configuration would change, who runs and who waits')
    .option('--json', 'print JSON')
    .addHelpText('after', planExamples)
    .action(plan)
  withTarget(routing.command('apply'))
    .description('drain the nodes that run and open the next epoch with the routing of the configuration')
    .option('--timeout <duration>', 'how long the pipeline may take to drain', '2m')
    .option('--without-nodes', 'apply although no node waits with this configuration')
    .option('--json', 'print JSON')
    .addHelpText('after', applyExamples)
    .action(apply)
  withTarget(routing.command('cancel'))
    .description('withdraw a request to drain that somebody else made')
    .option('--json', 'print JSON')
    .addHelpText('after', cancelExamples)
    .action(cancel)
}

async function plan(options: RoutingOptions): Promise<void> {
  const target = await openTarget(options)
  const { openDatabase, openEventLog } = await import('../connect/servers.ts')
  await using database = openDatabase(target.settings)
  await using log = openEventLog(target.settings, target.pipeline)
  const found = await planOf(target, database)
  const ends = await endsOf(log, found)
  process.stdout.write(options.json === true ? `${jsonText(planJson(target, found, ends))}\n` : planText(target, found, ends))
}

function planOf({ settings, pipeline }: Target, database: Database): Promise<RoutingPlan> {
  const fingerprint = fingerprintOf(settings, pipeline)
  return database.use('reading the routing', (client) => readRoutingPlan(client, pipeline.name, fingerprint))
}

async function endsOf(log: EventLog, { partitions }: RoutingPlan): Promise<Map<number, bigint>> {
  const ends = new Map<number, bigint>()
  for (const { partition } of partitions) ends.set(partition, (await log.range(partition)).endOffset)
  return ends
}

function planJson({ pipeline }: Target, found: RoutingPlan, ends: ReadonlyMap<number, bigint>) {
  const { epoch, reset, active, configured, changes, running, waiting, others, request, partitions } = found
  return {
    pipeline: pipeline.name,
    epoch,
    reset,
    version: { active: active.version, configured: configured.version },
    changes: changes.map(({ field, was, is }) => ({ field, active: was, configured: is })),
    nodes: [
      ...running.map((node) => ({ ...nodeJson(node), state: 'runs' })),
      ...waiting.map((node) => ({ ...nodeJson(node), state: 'waits with this configuration' })),
      ...others.map((node) => ({ ...nodeJson(node), state: 'waits with another configuration' })),
    ],
    request: request ?? null,
    partitions: partitions.map(({ partition, floor, appliedTo }) => ({
      partition,
      floor: String(floor),
      appliedTo: String(appliedTo),
      endOffset: String(ends.get(partition)),
      lagEvents: Number(ends.get(partition)! - nextOffsetAfter(floor)),
      isDrained: appliedTo <= floor,
    })),
  }
}

function nodeJson({ node, epoch, http, waitsFor }: PresentNode) {
  return { node, epoch, http, waitsFor }
}

function planText({ pipeline }: Target, found: RoutingPlan, ends: ReadonlyMap<number, bigint>): string {
  const { epoch, active, configured, changes, running, waiting, others, request, partitions } = found
  const names = (nodes: readonly PresentNode[]) => nodes.map(({ node }) => node).join(', ') || 'none'
  const isOther = active.version !== configured.version
  const lines = [
    `pipeline ${pipeline.name}, epoch ${epoch}, version ${active.version}`,
    ...(changes.length === 0 ? ['the routing is the one of the configuration: nothing to apply'] : []),
    ...changes.map(({ field, was, is }) => `  ${field}: ${was} now, ${paint(process.stdout, 'bold', String(is))} in the configuration`),
    ...(isOther ? [`  version: ${active.version} now, ${configured.version} in the configuration`] : []),
    `nodes that run: ${names(running)}`,
    `nodes that wait with this configuration: ${names(waiting)}`,
    ...(others.length > 0 ? [`nodes that wait with another one: ${names(others)}`] : []),
    ...(request === undefined
      ? []
      : [`asked to drain (${request.purpose}) by ${request.requestedBy} since ${request.requestedAt.toISOString()}`]),
    ...partitions.map(
      ({ partition, floor, appliedTo }) =>
        `partition ${partition}: floor ${floor}, applied up to ${appliedTo}, log ends at ${ends.get(partition)}`,
    ),
    ...(changes.length === 0 ? [] : [nextStep(found)]),
    '',
  ]
  return lines.join('\n')
}

function nextStep({ running, waiting, partitions }: RoutingPlan): string {
  const isDrained = partitions.every(({ floor, appliedTo }) => appliedTo <= floor)
  if (running.length === 0 && !isDrained)
    return 'nobody runs, and jobs above the floors are applied that others of their events are not: start a node with the OLD values, which drains them, and one with these, then `forebay routing apply`'
  if (running.length === 0) return 'nobody runs: `forebay start` with this configuration opens the epoch by itself once all is drained'
  if (waiting.length === 0) return 'next: start a node with this configuration (it will wait), then `forebay routing apply`'
  return 'next: `forebay routing apply`'
}

async function apply(options: ApplyOptions): Promise<void> {
  const timeout = parseDuration(options.timeout)
  if ('problem' in timeout) throw new ForebayError('FB_USAGE', `--timeout ${options.timeout}: ${timeout.problem}`)
  const target = await openTarget(options)
  const { openDatabase, openEventLog } = await import('../connect/servers.ts')
  await using database = openDatabase(target.settings)
  await using log = openEventLog(target.settings, target.pipeline)
  const found = await planOf(target, database)
  const { pipeline, fileHash } = target
  if (found.changes.length === 0) {
    const note = found.active.version === found.configured.version ? '' : ': another version opens its epoch when a node of it starts'
    return print(options, { pipeline: pipeline.name, epoch: found.epoch, isApplied: false, nodes: found.running.map(({ node }) => node) }, [
      `the routing is the one of the configuration, nothing to apply${note}`,
    ])
  }
  refuseWithoutNodes(found, options)
  const clock = new SystemClock()
  const identity = await log.identity()
  using stopping = stopOnSignal()
  const epoch = await applyRouting({
    database,
    clock,
    pipeline: pipeline.name,
    topic: pipeline.source.topic,
    identity,
    earliestFloors: () => startFloors(log, identity.partitions, 'earliest'),
    fingerprint: found.configured,
    fileHash,
    requestedBy: requester(),
    // Without a node nothing moves, so one look is enough; the grace is for a node that just stopped.
    timeoutMs: found.running.length > 0 ? timeout.value : Math.min(timeout.value, aloneWaitMs),
    signal: stopping.signal,
    onWaiting: tellOnce(),
    reasons: () => reasonsAgainst(found, target),
  })
  const nodes = await joined(target, database, epoch.epoch, found.waiting.length > 0)
  print(options, { pipeline: pipeline.name, epoch: epoch.epoch, isApplied: true, nodes }, [
    epoch.cutSentence ?? `epoch ${epoch.epoch} has the routing of the configuration`,
    nodes.length > 0 ? `it is run by ${nodes.join(', ')}` : 'no node runs it yet: start nodes with this configuration',
  ])
}

async function reasonsAgainst({ running, changes }: RoutingPlan, { settings }: Target): Promise<readonly string[]> {
  if (running.length > 0) return reasonsOf(running, settings.node)
  const wanted = changes.map(({ field, was }) => `${field} ${was}`).join(', ')
  return [`No node runs that could drain it: start one with ${wanted}.`]
}

function refuseWithoutNodes({ running, waiting, changes }: RoutingPlan, { withoutNodes = false }: ApplyOptions): void {
  if (withoutNodes || running.length === 0 || waiting.length > 0) return
  const what = changes.map(({ field, is }) => `${field} ${is}`).join(', ')
  throw new ForebayError(
    'FB_USAGE',
    `No node waits with ${what}, so nothing would run after the cut: start at least one node with the edited configuration first, or say --without-nodes.`,
  )
}

/** The nodes that run in `epoch`, once there is one or the time is up. */
async function joined(target: Target, database: Database, epoch: number, isExpected: boolean): Promise<string[]> {
  const clock = new SystemClock()
  const untilMs = clock.now() + joinWaitMs
  for (;;) {
    const { running } = await planOf(target, database)
    const nodes = running.filter((node) => node.epoch === epoch).map(({ node }) => node)
    if (nodes.length > 0 || !isExpected || clock.now() > untilMs) return nodes
    await clock.sleep(200)
  }
}

async function cancel(options: RoutingOptions): Promise<void> {
  const target = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(target.settings)
  const { request } = await planOf(target, database)
  await database.use('withdrawing the request to drain', (client) => dropRequest(client, target.pipeline.name))
  print(options, { pipeline: target.pipeline.name, withdrawn: request ?? null }, [
    request === undefined
      ? 'no request to drain was in force'
      : `withdrawn: ${request.purpose}, by ${request.requestedBy}; the nodes read on`,
  ])
}

function print({ json = false }: RoutingOptions, value: object, lines: readonly string[]): void {
  process.stdout.write(json ? `${jsonText(value)}\n` : `${printable(lines.join('\n'))}\n`)
}
