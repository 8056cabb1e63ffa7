/**
 * All cron tasks of a pipeline on one node, and the latest lines of the book of all nodes for people to read.
 *
 * It *runs* from `start` until the signal given there aborts, and then lets the runs under way end; a `start` meanwhile waits for
 * them. Closing it waits for the last ones.
 */
import { must } from '../assert.ts'
import { sentenceOf } from '../errors.ts'
import type { CronDefinition } from '../pipeline/pipeline.ts'
import { parseCron } from '../schedule/cron-expression.ts'
import { CronTimes } from '../schedule/cron-times.ts'
import { CronRunner } from './cron-runner.ts'
import type { CronRunnerPorts } from './cron-runner.ts'
import type { CronRun } from './cron-runs.ts'

export interface CronTaskStatus {
  readonly task: string
  readonly expression: string
  readonly timezone: string
  /** Wall clock of the next scheduled time as this node knows it; null while unknown. */
  readonly nextAtMs: number | null
  /** Why it does not run on this node, else null. */
  readonly trouble: string | null
  /** Of all nodes, latest first. */
  readonly runs: readonly CronRun[]
}

export const historyLines = 5
const historyMs = 2000

export class CronSchedule implements AsyncDisposable {
  readonly #ports: CronRunnerPorts
  readonly #runners: readonly CronRunner[]
  #history: readonly CronRun[] = []
  #historyTrouble: string | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(ports: CronRunnerPorts, definitions: readonly CronDefinition[]) {
    this.#ports = ports
    this.#runners = definitions.map((definition) => new CronRunner(ports, definition, cronTimesOf(definition)))
  }

  get status(): CronTaskStatus[] {
    return this.#runners.map(({ definition: { name: task, expression, timezone }, nextMs, trouble }) => ({
      task,
      expression,
      timezone,
      nextAtMs: nextMs ?? null,
      trouble: trouble ?? this.#historyTrouble ?? null,
      runs: this.#history.filter((run) => run.task === task),
    }))
  }

  /** Runs from now on, until `signal` aborts. */
  start(signal: AbortSignal): void {
    if (this.#runners.length === 0) return
    this.#running = this.#running.then(async () => {
      await Promise.all([...this.#runners.map((runner) => runner.run(signal)), this.#follow(signal)])
    })
  }

  /** The signal of the last `start` is to be aborted before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { runs, clock } = this.#ports
    while (!signal.aborted) {
      try {
        this.#history = await runs.history(historyLines)
        this.#historyTrouble = undefined
      } catch (error) {
        this.#historyTrouble = sentenceOf(error)
      }
      await clock.sleep(historyMs, signal)
    }
  }
}

/** The moments of a definition that was checked. */
function cronTimesOf({ expression, timezone }: CronDefinition): CronTimes {
  const parsed = parseCron(expression)
  return new CronTimes(must('value' in parsed ? parsed.value : undefined, 'a checked cron expression'), timezone)
}
