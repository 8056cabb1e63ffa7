/** The HMAC-SHA256 on what nodes hand each other through the grid: it shows damage, and to whoever has the secret also forgery. */
import { createHmac, timingSafeEqual } from 'node:crypto'

export const signatureBytes = 32

/** The parts are signed as one text: they must say themselves where each of them ends. */
export function signatureOf(secret: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const hmac = createHmac('sha256', secret)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

export function isSignatureOf(signature: Buffer, secret: string, ...parts: readonly (Buffer | string)[]): boolean {
  return signature.length === signatureBytes && timingSafeEqual(signatureOf(secret, ...parts), signature)
}
