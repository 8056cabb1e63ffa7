/**
 * What an operator allows whoever opens the next epoch: to go back to a superseded version, or to leave a durable task out.
 *
 * A permission names the active epoch by number and mark, and goes with the transaction that opens the next one, whoever opens it and for
 * whatever reason. So one permission is one opening, and a failover that forgets the opening brings the permission back with it.
 */
import type pg from 'pg'

export interface Permission {
  /** `version`: subject is a version. `leave`: subject is a task. */
  readonly kind: 'version' | 'leave'
  readonly subject: string
  readonly givenBy: string
  readonly givenAt: Date
}

export interface EpochName {
  readonly epoch: number
  readonly mark: string
}

/** Those given in the epoch `of`. */
export async function readPermissions(client: pg.ClientBase, pipeline: string, of: EpochName): Promise<Permission[]> {
  const { rows } = await client.query<Permission>(
    `select kind, subject, given_by as "givenBy", given_at as "givenAt" from forebay.permissions
     where pipeline = $1 and epoch = $2 and mark = $3 order by kind, subject`,
    [pipeline, of.epoch, of.mark],
  )
  return rows
}

/** Gives it in the epoch `of`; one given before stays as it was. Under the exclusive lock of the epoch. */
export async function givePermission(
  client: pg.ClientBase,
  pipeline: string,
  of: EpochName,
  { kind, subject, givenBy }: Omit<Permission, 'givenAt'>,
): Promise<void> {
  await client.query(
    `insert into forebay.permissions as p (pipeline, kind, subject, epoch, mark, given_by) values ($1, $2, $3, $4, $5, $6)
     on conflict (pipeline, kind, subject) do update
     set epoch = excluded.epoch, mark = excluded.mark, given_by = excluded.given_by, given_at = now()
     where (p.epoch, p.mark) <> (excluded.epoch, excluded.mark)`,
    [pipeline, kind, subject, of.epoch, of.mark, givenBy],
  )
}

/** Takes one back, or all; false when there was none. */
export async function dropPermissions(
  client: pg.ClientBase,
  pipeline: string,
  one?: Pick<Permission, 'kind' | 'subject'>,
): Promise<boolean> {
  const { rowCount } = await client.query(
    'delete from forebay.permissions where pipeline = $1 and ($2::text is null or (kind = $2 and subject = $3))',
    [pipeline, one?.kind ?? null, one?.subject ?? null],
  )
  return (rowCount ?? 0) > 0
}
