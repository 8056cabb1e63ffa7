/**
 * The port to the connection on which a table is compared. Temporary tables belong to one life of the connection.
 */
import type { LedgerTransaction } from '../ledger/ledger.ts'

export interface CheckSession<Tx extends LedgerTransaction> {
  /** Runs `prepare` in a transaction and resolves to the life of the connection it ran on. Throws FB_FENCED when another repair has the lock. */
  begin(prepare: (transaction: Tx) => Promise<void>): Promise<number>
  /** One transaction on the connection of `life`. Throws FB_DATABASE_UNREACHABLE when that one is gone, and with it what `begin` prepared. */
  transact<T>(life: number, doing: string, body: (transaction: Tx) => Promise<T>): Promise<T>
}
