/** What a change of the live nodes is in words, a line for each kind of change. Pure. */
const shown = 10

export interface Seen {
  /** Ids of the nodes that lived, and of those that live; without this one. */
  readonly before: readonly string[]
  readonly now: readonly string[]
  /** Whether the entry of a node is still there: who takes leave removes it, who dies does not. */
  readonly hasEntry: (id: string) => boolean
}

export function membershipNews({ before, now, hasEntry }: Seen): string[] {
  const joined = now.filter((id) => !before.includes(id))
  const gone = before.filter((id) => !now.includes(id))
  const live = `; ${now.length + 1} node${now.length === 0 ? '' : 's'} now`
  return [
    ...line(joined, 'joined', live),
    ...line(
      gone.filter((id) => !hasEntry(id)),
      'left',
      live,
    ),
    ...line(gone.filter(hasEntry), 'died, or is not heard of any more', live),
  ]
}

function line(ids: readonly string[], what: string, live: string): string[] {
  if (ids.length === 0) return []
  const more = ids.length > shown ? ` and ${ids.length - shown} more` : ''
  return [`node${ids.length === 1 ? '' : 's'} ${ids.slice(0, shown).join(', ')}${more} ${what}${live}`]
}
