const bytesMax = 1000

/** A decimal of two's complement bytes, the highest first, as exact text: `-12.340` for scale 3. */
export function decimalText(bytes: Buffer, scale: number): string {
  if (bytes.length > bytesMax) throw new Error(`a decimal has ${bytes.length} bytes, more than ${bytesMax}`)
  const unscaled = bytes.length === 0 ? 0n : BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`))
  const sign = unscaled < 0n ? '-' : ''
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
