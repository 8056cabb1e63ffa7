import { ForebayError } from '../errors.ts'
import type { CheckSession } from './check-session.ts'
import type { PostgresSession } from '../ledger/postgres-session.ts'
import type { PostgresTransaction } from '../ledger/postgres-transaction.ts'

/** The connection on which a table is compared: it knows when its temporary tables are gone. */
export class PostgresCheckSession implements CheckSession<PostgresTransaction> {
  readonly #session: PostgresSession

  constructor(session: PostgresSession) {
    this.#session = session
  }

  async begin(prepare: (transaction: PostgresTransaction) => Promise<void>): Promise<number> {
    await this.#session.transact('preparing the comparison', prepare)
    return this.#session.lives
  }

  transact<T>(life: number, doing: string, body: (transaction: PostgresTransaction) => Promise<T>): Promise<T> {
    return this.#session.transact(doing, async (transaction) => {
      if (this.#session.lives === life) return body(transaction)
      throw new ForebayError('FB_DATABASE_UNREACHABLE', `the connection was lost while ${doing}; what was gathered on it is gone`)
    })
  }
}
