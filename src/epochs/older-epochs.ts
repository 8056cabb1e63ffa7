import type { Fingerprint } from '../ledger/fingerprint.ts'
import { epochMark } from './epoch-mark.ts'
import type { PostgresPool } from '../database/postgres-pool.ts'

/** Epochs looked back at: one whose node died before it tidied up is caught by one of the next. */
const epochsMax = 3

/** The few epochs of the pipeline before `epoch`, their marks, and how many queues a partition had in each. */
export async function olderEpochs(
  pool: PostgresPool,
  pipeline: string,
  epoch: number,
): Promise<readonly { epoch: number; mark: string; queues: number }[]> {
  const { rows } = await pool.use('reading the earlier epochs', (client) =>
    client.query<{ epoch: number; reset: number; fingerprint: Fingerprint; mark: string | null }>(
      `select epoch, reset, fingerprint, mark from forebay.epochs
       where pipeline = $1 and epoch < $2 order by epoch desc limit ${epochsMax}`,
      [pipeline, epoch],
    ),
  )
  return rows.map(({ epoch: number, reset, fingerprint, mark }) => ({
    epoch: number,
    mark: mark ?? epochMark(fingerprint, reset),
    queues: fingerprint.queues,
  }))
}
