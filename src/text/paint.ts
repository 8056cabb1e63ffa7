const codes = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 } as const

/** `text` in colour when `stream` is a terminal and NO_COLOR is not set. */
export function paint(stream: { readonly isTTY?: boolean }, colour: keyof typeof codes, text: string): string {
  const isPlain = stream.isTTY !== true || (process.env['NO_COLOR'] ?? '') !== ''
  return isPlain ? text : `\u001b[${codes[colour]}m${text}\u001b[0m`
}
