import type { PostgresPool } from './postgres-pool.ts'

/** Epochs looked back at: one whose node died before it tidied up is caught by one of the next. */
const epochsMax = 3

/** The few epochs of the pipeline before `epoch`, and how many queues a partition had in each. */
export async function olderEpochs(
  pool: PostgresPool,
  pipeline: string,
  epoch: number,
): Promise<readonly { epoch: number; queues: number }[]> {
  const { rows } = await pool.use('reading the earlier epochs', (client) =>
    client.query<{ epoch: number; queues: number }>(
      `select epoch, (fingerprint ->> 'queues')::int as queues from forebay.epochs
       where pipeline = $1 and epoch < $2 order by epoch desc limit ${epochsMax}`,
      [pipeline, epoch],
    ),
  )
  return rows
}
