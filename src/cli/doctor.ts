import type { Command } from 'commander'
import { checkConfiguration, checkMachine } from '../doctor/check-config.ts'
import { judgeDatabase, readDatabaseFacts } from '../doctor/check-database.ts'
import { judgeFutureEvents, readFutureEvents } from '../doctor/check-event-log.ts'
import { askMembers, checkRings, judgeMembers } from '../doctor/check-grid.ts'
import { judgeLetters, judgeNodes, judgeTopic } from '../doctor/check-nodes.ts'
import { judgeVersions } from '../doctor/check-versions.ts'
import type { Finding } from '../doctor/finding.ts'
import { fail, ok } from '../doctor/finding.ts'
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import { topicDrift } from '../events/topic-settings.ts'
import { awayOf, foundOf } from '../inspect/facts.ts'
import { differencesOf, look } from '../inspect/gather-explain.ts'
import { gatherNodes } from '../inspect/gather-nodes.ts'
import { readLedgerFacts } from '../inspect/ledger-facts.ts'
import { askNodes } from '../inspect/node-facts.ts'
import { chosenTasks } from '../config/fingerprint-of.ts'
import { sinkBytesOf } from '../node/memory-bound.ts'
import { inspectTarget } from './inspect-target.ts'
import type { InspectTarget } from './inspect-target.ts'
import { paint } from '../text/paint.ts'
import { withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { tableOf } from '../sinks/traits.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

interface DoctorOptions extends TargetOptions {
  readonly json?: boolean
}

const partitionsUnknown = 4
const examples = `
Examples:
  forebay doctor                             the run of this folder
  forebay doctor -c config/forebay.yaml      before the first start, or of a remote cluster
  forebay doctor --json

The exit code is 1 when there are errors; warnings alone leave it 0. Nothing is changed.`

/** Adds `forebay doctor`. */
export function addDoctor(program: Command): void {
  withTarget(program.command('doctor'))
    .description('check the configuration, every server and every node; each finding with its consequence and what mends it')
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action(showFindings)
}

async function showFindings(options: DoctorOptions): Promise<void> {
  await using target = await inspectTarget(options)
  const findings = await examine(target)
  const errors = findings.filter(({ severity }) => severity === 'error').length
  const warnings = findings.filter(({ severity }) => severity === 'warn').length
  process.stdout.write(options.json === true ? `${jsonText({ errors, warnings, findings })}\n` : textOf(findings))
  if (errors > 0) throw new ForebayError('FB_UNWELL', `${errors} errors and ${warnings} warnings; each line above says what mends it`)
}

async function examine(target: InspectTarget): Promise<Finding[]> {
  const { of, ports } = target
  const [topic, database, ledger] = await Promise.all([
    checkTopic(target),
    checkDatabase(target),
    look(() => readLedgerFacts(ports.database, of.pipeline.name)),
  ])
  const answers = await askNodes(of.urls, of.settings.node)
  const nowMs = Date.now()
  const { nodes, scope } = await gatherNodes(ports.grid, of, foundOf(ledger), answers)
  const partitions = foundOf(ledger)?.partitions.size ?? 0
  return [
    ...(await checkMachine(
      of.settings,
      answers.some(({ status }) => status !== null),
    )),
    ...checkConfiguration(
      target.target.config,
      of.settings,
      partitions === 0 ? partitionsUnknown : partitions,
      sinkBytesOf(chosenTasks(of.settings, of.pipeline)),
    ),
    ...database,
    ...topic,
    ...(await checkGrid(target, scope)),
    ...(foundOf(ledger) === undefined ? [] : judgeLetters(foundOf(ledger)!.openLetters)),
    ...judgeNodes(nodes, differencesOf(of.fingerprint, foundOf(ledger)), nowMs),
  ]
}

async function checkDatabase({ of, ports }: InspectTarget): Promise<Finding[]> {
  const tables = of.tasks.flatMap((task) => tableOf(task) ?? [])
  const facts = await look(() => readDatabaseFacts(ports.database, tables))
  const away = awayOf(facts)
  if (away !== undefined)
    return [fail('database', away, 'nothing is flushed; what waits is kept by the event log', 'start it, or mend database.url')]
  return judgeDatabase(foundOf(facts)!, of.settings, Math.max(1, of.settings.grid.members.length, of.urls.length))
}

async function checkTopic({ of, ports }: InspectTarget): Promise<Finding[]> {
  const { settings, pipeline } = of
  const { openTopicAdmin } = await import('../connect/servers.ts')
  await using admin = openTopicAdmin(settings, pipeline)
  const found = await look(() => admin.describe())
  const away = awayOf(found)
  if (away !== undefined) return [fail('event log', away, 'nothing new is read', 'start it, or mend the way to it')]
  const topic = foundOf(found) ?? null
  const wanted = settings.topic ?? {
    partitions: undefined,
    replication: undefined,
    minInsyncReplicas: undefined,
    replayWindowMs: undefined,
  }
  const name = pipeline.source.topic
  if (topic === null) return judgeTopic(name, topic, [])
  return [...judgeTopic(name, topic, topicDrift(wanted, topic, undefined)), ...(await checkTimes(ports.log, name, topic.partitions))]
}

async function checkTimes(log: EventLog, topic: string, partitions: number): Promise<Finding[]> {
  const found = await look(() => readFutureEvents(log, partitions, Date.now()))
  const away = awayOf(found)
  if (away !== undefined)
    return [fail('event log', away, 'nothing new is read from it', 'look at its brokers, and the leaders of the topic')]
  return judgeFutureEvents(topic, foundOf(found)!)
}

async function checkGrid({ of, ports }: InspectTarget, scope: string | undefined): Promise<Finding[]> {
  if (ports.grid === null) return [ok('grid', 'it is inside the node (grid.mode local): one node only')]
  const { members: addresses, tls } = of.settings.grid
  const members =
    tls === undefined
      ? judgeMembers(await askMembers(addresses))
      : [ok('grid', `the members ${addresses.join(', ')} are spoken to over TLS; their health checks are not asked`)]
  const isAway = members.some(({ severity }) => severity === 'error')
  if (isAway) return members
  const grid = await look(() => ports.grid!)
  const away = awayOf(grid)
  if (away !== undefined)
    return [...members, fail('grid', away, 'nothing new is processed; nothing is lost', 'start the members, or mend the way to them')]
  const opened = foundOf(grid)!
  return [...members, ...judgeVersions(opened.memberVersions?.() ?? new Map()), ...(await checkRings(opened, of.settings, scope))]
}

function textOf(findings: readonly Finding[]): string {
  const colours = { ok: 'green', warn: 'yellow', error: 'red' } as const
  const lines = findings.flatMap(({ area, severity, what, consequence, mend }) => [
    `${paint(process.stdout, colours[severity], severity.padEnd(6))}${area}: ${printable(what)}`,
    ...(consequence === null ? [] : [`      so:   ${printable(consequence)}`]),
    ...(mend === null ? [] : [`      mend: ${printable(mend)}`]),
  ])
  return `${lines.join('\n')}\n`
}
