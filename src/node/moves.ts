/** What a change of a node's share is in words. Pure. */
const shown = 20

export interface Moves {
  /** Partitions taken and given up, rising. */
  readonly taken: readonly number[]
  readonly given: readonly number[]
  readonly queuesTaken: number
  readonly queuesGiven: number
}

/** One line, or undefined when nothing moved. */
export function movesText({ taken, given, queuesTaken, queuesGiven }: Moves): string | undefined {
  const parts = [part('takes', taken, queuesTaken), part('gives up', given, queuesGiven)].filter((text) => text !== undefined)
  return parts.length === 0 ? undefined : `this node ${parts.join(', and ')}`
}

function part(verb: string, partitions: readonly number[], queues: number): string | undefined {
  if (partitions.length === 0 && queues === 0) return undefined
  const more = partitions.length > shown ? ` and ${partitions.length - shown} more` : ''
  const list = `partition${partitions.length === 1 ? '' : 's'} ${partitions.slice(0, shown).join(', ')}${more}`
  const counted = queues === 0 ? [] : [`${queues} queue${queues === 1 ? '' : 's'}`]
  return `${verb} ${[...(partitions.length === 0 ? [] : [list]), ...counted].join(' and ')}`
}
