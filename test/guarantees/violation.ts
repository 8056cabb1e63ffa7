/** A broken guarantee: `rule` is its number in the protocol (`I1` …, `L1`, `L2`) or `port` for a misused port. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly rule: string

  constructor(rule: string, what: string) {
    super(`${rule}: ${what}`)
    this.rule = rule
  }
}

/** Throws a violation of `rule` unless `condition` holds. `what` is only called then. */
export function demand(condition: boolean, rule: string, what: () => string): asserts condition {
  if (!condition) throw new Violation(rule, what())
}
