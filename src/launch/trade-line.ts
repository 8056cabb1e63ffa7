/** One line of a feed: a trade with the seven columns of the file, in file order. */
export interface TradeLine {
  /** Number of the line in its feed; strictly increasing. The published record's header `line`. */
  readonly line: number
  /** New York time of the day. */
  readonly msSinceMidnight: number
  readonly symbol: string
  /** The event's value: JSON of the seven columns. */
  readonly json: string
}

export const tradeColumns = ['ms_since_midnight', 'symbol', 'price_e4', 'size', 'exchange', 'conditions', 'suspicious'] as const

/** Strings that are their own JSON between quotation marks. */
const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** The value of a trade. Numbers are whole; `suspicious` becomes a boolean. Pure. */
export function tradeJson(
  ms: number,
  symbol: string,
  priceE4: number,
  size: number,
  exchange: string,
  conditions: string,
  suspicious: boolean,
): string {
  return `{"ms_since_midnight":${ms},"symbol":${quote(symbol)},"price_e4":${priceE4},"size":${size},"exchange":${quote(exchange)},"conditions":${quote(conditions)},"suspicious":${suspicious}}`
}

function quote(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text)
}
