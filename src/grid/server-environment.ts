/**
 * The environment of servers that forebay starts: what they need to run, and nothing of what its owner has in his own, where tokens
 * and passwords are kept that are none of theirs.
 */
const passedOn = ['PATH', 'JAVA_HOME', 'LD_LIBRARY_PATH', 'TMPDIR', 'SystemRoot'] as const

/** `locale` is theirs for messages and file names; times are in UTC. */
export function serverEnvironment(locale = 'C.UTF-8', own: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const given = passedOn.flatMap((name) => (own[name] === undefined ? [] : [[name, own[name]] as const]))
  return { ...Object.fromEntries(given), LC_ALL: locale, TZ: 'UTC' }
}
