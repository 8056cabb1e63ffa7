/**
 * The member of `record` that it holds itself. What data names (a task, a column, a type of a database) may be called `constructor` or
 * `toString`, and must never find what every object inherits.
 */
export function own<Value>(record: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}
