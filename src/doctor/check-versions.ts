/** Judges the versions of the members of the grid. Pure. */
import type { Finding } from './finding.ts'
import { fail, ok, warn } from './finding.ts'

const [majorMin, minorMin] = [5, 3] as const

/** `versions`: of each member of the cluster by its address, such as `5.7.0`. */
export function judgeVersions(versions: ReadonlyMap<string, string>): Finding[] {
  if (versions.size === 0) return []
  const different = [...new Set(versions.values())]
  const list = [...versions].map(([address, version]) => `${version} at ${address}`).join(', ')
  const old = [...versions].filter(([, version]) => isOld(version))
  const findings: Finding[] = []
  if (old.length > 0)
    findings.push(
      fail(
        'grid',
        `Hazelcast ${old.map(([address, version]) => `${version} at ${address}`).join(', ')}`,
        'forebay is not tested with it',
        `upgrade to Hazelcast ${majorMin}.${minorMin} or newer`,
      ),
    )
  if (different.length > 1)
    findings.push(
      warn(
        'grid',
        `its members are of different versions: ${list}`,
        'one that restarts may not be let in again, and others carry its share',
        'bring all to the same version',
      ),
    )
  return findings.length > 0 ? findings : [ok('grid', `Hazelcast ${different[0]} on every member`)]
}

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < majorMin || (major === majorMin && minor < minorMin)
}
