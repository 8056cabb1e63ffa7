/**
 * Which Host and Origin headers a node answers to. A browser tricked by DNS rebinding sends a foreign name as Host, and a
 * foreign page sends its own Origin; a plain program sends no Origin at all.
 */
import { isIP } from 'node:net'

/** Whether a request may carry this Host header. An IP address passes: only a name can be rebound; and none at all: every browser sends one. */
export function isHostAllowed(header: string | undefined, allowedNames: readonly string[]): boolean {
  if (header === undefined) return true
  const name = hostnameOf(`http://${header}`)
  return name !== undefined && (isLoopbackName(name) || isIP(bare(name)) !== 0 || isNamed(name, allowedNames))
}

/** Whether a WebSocket may be opened by a page of this Origin: our own pages, loopback pages, named hosts, no page at all. */
export function isOriginAllowed(origin: string | undefined, host: string | undefined, allowedNames: readonly string[]): boolean {
  if (origin === undefined) return true
  const name = hostnameOf(origin)
  if (name === undefined) return false
  return isLoopbackName(name) || isNamed(name, allowedNames) || new URL(origin).host === host?.toLowerCase()
}

/** Whether nobody but this machine can connect to `host`, as `node.host` and the like name it. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function hostnameOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname || undefined : undefined
}

function isLoopbackName(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || (isIP(name) === 4 && name.startsWith('127.'))
}

function isNamed(name: string, allowedNames: readonly string[]): boolean {
  return allowedNames.some((allowed) => allowed.toLowerCase() === name || allowed.toLowerCase() === bare(name))
}

/** An IPv6 address without the brackets of a URL. */
function bare(name: string): string {
  return name.replace(/^\[|\]$/g, '')
}
