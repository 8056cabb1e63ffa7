import type { SinkDefinition } from './pipeline.ts'

/** A sink that takes rows of one type; what `convert` returns must fit it. */
export interface Sink<in Row> {
  readonly definition: SinkDefinition
  /** Never set: it carries the type of the rows. */
  readonly rowType?: (row: Row) => void
}
