import { printable } from './printable.ts'

/** A table with columns as wide as their widest cell, after an empty line; nothing when there are no rows. */
export function tableText(head: readonly string[], cells: readonly (readonly string[])[]): string[] {
  const rows = cells.map((row) => row.map(printable))
  if (rows.length === 0) return []
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const lineOf = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return ['', lineOf(head), ...rows.map(lineOf)]
}
