import type pg from 'pg'

/** A database that is asked, one connection at a time; throws FB_DATABASE_UNREACHABLE and what Postgres refuses. */
export interface Database extends AsyncDisposable {
  /** `doing` completes "Postgres failed while …". */
  use<T>(doing: string, body: (client: pg.ClientBase) => Promise<T>): Promise<T>
}
