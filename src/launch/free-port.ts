/**
 * Ports of loopback servers: a port once chosen is kept in the server's folder, so that clients find it again after a
 * restart, and is given up only when something else took it meanwhile.
 */
import { randomInt } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { ForebayError, isForebayError } from '../errors.ts'

const triesMax = 6
const drawsMax = 200
const portMin = 20_000
const portMax = 32_000

/**
 * A port of 127.0.0.1 that nothing listens on now, drawn at random below the range from which systems take the ports of
 * outgoing connections. Something may take it before its use: `withPorts` tries again.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < drawsMax; tries++) {
    const port = randomInt(portMin, portMax)
    if (await canListen(port)) return port
  }
  throw new ForebayError('FB_SERVER_START', `No free port was found between ${portMin} and ${portMax} on 127.0.0.1.`)
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ host: '127.0.0.1', port, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

/** Whether something accepts connections on the port of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
    socket.setTimeout(1000, () => settle(false))
  })
}

/**
 * Calls `start` with `count` ports: those kept in `file` while they are free, else free ones, which are then kept.
 * When `start` fails with FB_SERVER_START because of a taken port, it is called again with other ports, at most five times;
 * `fixed` ports (undefined entries are free to choose) never change, and their collision is the error of `start`.
 */
export async function withPorts<T>(
  file: string,
  fixed: readonly (number | undefined)[],
  start: (ports: readonly number[]) => Promise<T>,
): Promise<T> {
  const kept = readPorts(file)
  for (let tries = 1; ; tries++) {
    const ports: number[] = []
    for (const [index, port] of fixed.entries()) ports.push(port ?? (await choosePort(tries === 1 ? kept[index] : undefined, ports)))
    try {
      const result = await start(ports)
      writeFileSync(file, `${JSON.stringify(ports)}\n`, { mode: 0o600 })
      return result
    } catch (error) {
      const isCollision =
        isForebayError(error, 'FB_SERVER_START') && /address already in use|could not bind|BindException/i.test(error.message)
      if (!isCollision || tries === triesMax || fixed.every((port) => port !== undefined)) throw error
    }
  }
}

/** `count` ports, each the one kept in `file` while it is free, else a free one; kept for the next time. */
export async function keptPorts(file: string, count: number): Promise<number[]> {
  const kept = readPorts(file)
  const ports: number[] = []
  for (let index = 0; index < count; index++) ports.push(await choosePort(kept[index], ports))
  writeFileSync(file, `${JSON.stringify(ports)}\n`, { mode: 0o600 })
  return ports
}

async function choosePort(kept: number | undefined, taken: readonly number[]): Promise<number> {
  if (kept !== undefined && !(await isListening(kept))) return kept
  for (;;) {
    const port = await freePort()
    if (!taken.includes(port)) return port
  }
}

function readPorts(file: string): (number | undefined)[] {
  if (!existsSync(file)) return []
  try {
    const ports: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return Array.isArray(ports) ? ports.map((port: unknown) => (Number.isInteger(port) ? (port as number) : undefined)) : []
  } catch {
    return []
  }
}
