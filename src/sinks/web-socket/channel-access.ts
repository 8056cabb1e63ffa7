/** What a channel's `authorize` says of a client, made safe: whatever is not a clear yes is a no. */
import { ForebayError } from '../../errors.ts'
import type { ChannelRequest, WebSocketDefinition } from './web-socket-definition.ts'

const authorizeMs = 5000

/** The keys the client may see (undefined: all), or false. Throws what `authorize` threw, and FB_PIPELINE when it answers late or with something else. */
export async function decideAccess(
  authorize: WebSocketDefinition['authorize'],
  request: ChannelRequest,
  timeoutMs: number = authorizeMs,
): Promise<{ readonly allows: ((key: string) => boolean) | undefined } | false> {
  if (authorize === undefined) return { allows: undefined }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ForebayError('FB_PIPELINE', `authorize gave no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    const verdict: unknown = await Promise.race([authorize(request), late])
    if (verdict === false) return false
    const keys = typeof verdict === 'object' && verdict !== null ? (verdict as { keys?: unknown }).keys : null
    if (keys !== undefined && typeof keys !== 'function')
      throw new ForebayError('FB_PIPELINE', 'authorize must answer { keys?: (key) => boolean } or false; the client was refused')
    return { allows: keys as ((key: string) => boolean) | undefined }
  } finally {
    clearTimeout(timer)
  }
}
