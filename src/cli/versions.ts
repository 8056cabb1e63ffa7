import type { Command } from 'commander'
import { acceptVersion, readEpochs, withdraw } from '../epochs/operator-words.ts'
import type { EpochRecord } from '../epochs/operator-words.ts'
import { known } from '../epochs/routing-cut.ts'
import { taskChangeOf } from '../epochs/task-set.ts'
import { requester } from './operator.ts'
import { openTarget, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface VersionsOptions extends TargetOptions {
  readonly json?: boolean
}

const listExamples = `
Examples:
  forebay versions list                           of the run in this folder, or config/forebay.yaml
  forebay versions list -c config/forebay.yaml --json`
const acceptExamples = `
Examples:
  forebay versions accept 1 -c config/forebay.yaml              then start nodes of version 1
  forebay versions accept 1 -c config/forebay.yaml --withdraw

To roll back: accept the version, then replace the nodes one after the other. The first node of the accepted version has those that run
drain (10 s at most) and opens the next epoch; nodes of the other version stop and are refused until they are replaced. One acceptance
is one opening: the version that was left is superseded then, and any other epoch that opens first makes the acceptance void.`

/** Adds `forebay versions list | accept`. */
export function addVersions(program: Command): void {
  const versions = program
    .command('versions')
    .description('the versions that a pipeline ran as, and going back to an earlier one')
    .addHelpText('after', `${listExamples}\n  forebay versions accept 1 -c config/forebay.yaml`)
  withTarget(versions.command('list'))
    .description('show the epochs: version, when it was opened, tasks')
    .option('--json', 'print JSON')
    .addHelpText('after', listExamples)
    .action(list)
  withTarget(versions.command('accept'))
    .description('let a superseded version open the next epoch, once')
    .argument('<version>', 'the version to go back to')
    .option('--withdraw', 'take an acceptance back that was not used yet')
    .option('--json', 'print JSON')
    .addHelpText('after', acceptExamples)
    .action(accept)
}

async function list(options: VersionsOptions): Promise<void> {
  const { pipeline, settings } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  const { permissions, epochs } = await database.use('reading the epochs', async (client) => ({
    permissions: (await known(client, pipeline.name)).permissions,
    epochs: await readEpochs(client, pipeline.name),
  }))
  const accepted = permissions.flatMap(({ kind, subject, givenBy, givenAt }) =>
    kind === 'version' ? [{ version: subject, givenBy, givenAt }] : [],
  )
  if (options.json === true) return print({ pipeline: pipeline.name, epochs: epochs.map(epochJson), accepted })
  const lines = [
    ...epochs.map((epoch, i) => `${i === 0 ? 'now ' : '    '}${epochText(epoch)}`),
    ...accepted.map(
      ({ version, givenBy, givenAt }) => `version ${version} may open the next epoch, as ${givenBy} allowed at ${givenAt.toISOString()}`,
    ),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

function epochJson({ fingerprint, openedAt, ...epoch }: EpochRecord, index: number) {
  const { tasks, ephemeral = null, queues } = fingerprint
  return { ...epoch, isActive: index === 0, openedAt: openedAt.toISOString(), tasks, ephemeral, queues }
}

function epochText({ epoch, reset, version, openedAt, fingerprint: { tasks, ephemeral = [], queues } }: EpochRecord): string {
  const latest = ephemeral.filter((task) => !tasks.includes(task))
  const besides = latest.length === 0 ? '' : `; latest values: ${latest.join(', ')}`
  return `epoch ${epoch}  version ${version}  opened ${openedAt.toISOString()}  reset ${reset}  queues ${queues}  tasks: ${tasks.join(', ')}${besides}`
}

async function accept(version: string, options: VersionsOptions & { readonly withdraw?: boolean }): Promise<void> {
  const { pipeline, settings } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  if (options.withdraw === true) {
    const gone = await database.use('withdrawing an acceptance', (client) =>
      withdraw(client, pipeline.name, { kind: 'version', subjects: [version] }),
    )
    if (options.json === true) return print({ pipeline: pipeline.name, version, isWithdrawn: gone.length > 0 })
    process.stdout.write(gone.length > 0 ? `withdrawn: version ${version} is superseded\n` : `version ${version} was not accepted\n`)
    return
  }
  const { active, earlier } = await database.use('accepting a version', (client) =>
    acceptVersion(client, pipeline.name, version, requester()),
  )
  const before = earlier.find((epoch) => epoch.version === version)
  const left = before === undefined ? [] : taskChangeOf(active.fingerprint, before.fingerprint).left
  if (options.json === true)
    return print({ pipeline: pipeline.name, version, after: { epoch: active.epoch, version: active.version }, tasksToDrop: left })
  const lines = [
    `version ${version} may open the epoch after ${active.epoch}, once: start a node of it, which has the nodes of version ${active.version} drain first`,
    ...(left.length === 0
      ? []
      : [
          `version ${version} did not have the durable ${left.join(', ')}: unless it has now, say also \`forebay tasks drop ${left.join(' ')}\``,
        ]),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

function print(value: object): void {
  process.stdout.write(`${jsonText(value)}\n`)
}
