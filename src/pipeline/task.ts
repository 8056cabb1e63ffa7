/**
 * A task as a pipeline's author writes it, with the types that hold `convert` and the sink together.
 */
import type { At } from './pipeline.ts'
import type { Sink } from '../sinks/sink.ts'
import type { Duration, Size } from '../text/units.ts'

export type Jobs<Row> = Row | readonly Row[] | undefined

export interface Task<Event, Row> {
  /** The longest a job waits for its flush, such as `15ms` or `1s`. A flush comes earlier when much waits. */
  readonly every: Duration
  /** Flush at this many waiting jobs. */
  readonly rowsMax?: number
  /** Flush at this many bytes of waiting jobs, such as `4MiB`. */
  readonly bytesMax?: Size
  readonly sink: Sink<Row>
  /** One job, an array of jobs, or undefined for none. Pure: converting an event twice gives the same jobs. */
  readonly convert: (event: Event, at: At) => Jobs<NoInfer<Row>>
}

/** The tasks of a pipeline by name; `Rows` is inferred from the sinks. */
export type Tasks<Event, Rows> = { readonly [Name in keyof Rows]: Task<Event, Rows[Name]> }

/** Infers what each `convert` really gives, so that fields without a column can be seen. */
export type Given<Event, Gives> = { readonly [Name in keyof Gives]: { readonly convert: (event: Event, at: At) => Gives[Name] } }

/** Holds for tasks whose jobs have no field beyond the sink's; any other task would need the field `notAColumn`. */
export type NothingExtra<Rows, Gives> = {
  readonly [Name in keyof Gives & keyof Rows as [Extra<Rows[Name], Gives[Name]>] extends [never] ? never : Name]: {
    readonly notAColumn: Extra<Rows[Name], Gives[Name]>
  }
}

type Extra<Row, Gives> = Gives extends readonly (infer One)[]
  ? Extra<Row, One>
  : Gives extends object
    ? Exclude<keyof Gives, keyof Row>
    : never
