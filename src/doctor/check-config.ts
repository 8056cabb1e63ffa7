/** Checks this machine and the configuration; connects to nothing but its own ports. */
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { sentenceOf } from '../errors.ts'
import type { Config } from '../config/config.ts'
import { checkMemory } from '../node/memory-bound.ts'
import type { NodeSettings } from '../config/settings.ts'
import { sizeText } from '../text/units.ts'
import type { Finding } from './finding.ts'
import { fail, ok, warn } from './finding.ts'

const nodeMajorMin = 20
const javaMajorMin = 17
const javaCommand = 'java'

/** `partitions`: of the topic, as far as it is known; `channels`: how many tasks push to clients. */
export function checkConfiguration(config: Config, settings: NodeSettings, partitions: number, sinkBytes: number): Finding[] {
  const { grid } = settings
  const findings = config.warnings.map((what) =>
    warn('configuration', what, 'others may read or change what they should not', 'do what the sentence says'),
  )
  try {
    const { gridBytes, nodeBytes } = checkMemory(settings, partitions, { sinkBytes })
    findings.push(
      ok(
        'configuration',
        `at worst the grid holds ${sizeText(gridBytes)} and a node that owns everything ${sizeText(nodeBytes)}, which fits`,
      ),
    )
  } catch (error) {
    findings.push(fail('configuration', sentenceOf(error), 'no node starts', 'do what the sentence says'))
  }
  if (grid.mode !== 'local' && grid.backups === 0 && grid.members.length > 1)
    findings.push(
      warn(
        'configuration',
        'grid.backups is 0',
        'the loss of one member makes jobs of its rings be made again from the event log',
        'set grid.backups to 1',
      ),
    )
  if (grid.mode !== 'local' && grid.backups >= grid.members.length)
    findings.push(
      warn(
        'configuration',
        `grid.backups is ${grid.backups} with ${grid.members.length} members`,
        'there is nowhere to keep so many copies',
        'run more members, or lower grid.backups',
      ),
    )
  if (config.warnings.length === 0) findings.push(ok('configuration', 'files with secrets are readable by their owner only'))
  return findings
}

export async function checkMachine(settings: NodeSettings, isNodeThere: boolean): Promise<Finding[]> {
  const { node, grid } = settings
  const version = `Node.js ${process.versions.node}`
  const isNew = Number(process.versions.node.split('.')[0]) >= nodeMajorMin
  const findings = [
    isNew ? ok('this machine', version) : fail('this machine', version, 'forebay does not run', 'install Node.js 20.20 or newer'),
  ]
  if (grid.mode === 'embedded') findings.push(checkJava())
  if (node.port !== 0 && !isNodeThere && !(await isFree(node.port, node.host)))
    findings.push(
      fail(
        'this machine',
        `port ${node.port} of ${node.host} is taken, and not by a node of forebay that answers`,
        'a node with this configuration does not start here',
        'end the other program, or set node.port',
      ),
    )
  return findings
}

function checkJava(): Finding {
  const { status, stderr } = spawnSync(javaCommand, ['-version'], { encoding: 'utf8', timeout: 10_000 })
  const major = Number(/version "(\d+)/.exec(stderr ?? '')?.[1])
  if (status === 0 && major >= javaMajorMin) return ok('this machine', `Java ${major}`)
  const what = status === 0 ? `Java ${major}` : 'java cannot be run'
  return fail('this machine', what, 'a node in grid.mode embedded cannot run its member', `install Java ${javaMajorMin} or newer`)
}

function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRINUSE'))
    server.listen(port, host, () => server.close(() => resolve(true)))
  })
}
