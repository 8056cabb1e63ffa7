/** The options of `npm start` and `npm run cluster`, given after `--`. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { ForebayError } from '../errors.ts'
import type { FeedPace } from './feed-pace.ts'

export type LaunchMode = 'standalone' | 'cluster'

export interface LaunchOptions {
  readonly mode: LaunchMode
  /** Node processes; always 1 in standalone mode. */
  readonly nodes: number
  /** CSV file to feed; undefined for the synthetic market. */
  readonly feed: string | undefined
  readonly seed: number
  readonly pace: FeedPace
  /** Publish everything before the nodes start. */
  readonly isPreloaded: boolean
  /** Run only these tasks; undefined for all. */
  readonly tasks: readonly string[] | undefined
  /** Discard earlier state. */
  readonly isFresh: boolean
  /** Exit when all is applied. */
  readonly isDrained: boolean
}

/** A day of the market passes in six and a half minutes unless another pace is asked for. */
const marketSpeed = 60
const nodesMax = 16

interface RawOptions {
  nodes?: number
  feed?: string
  seed: number
  speed?: FeedPace
  rate?: number
  preload?: boolean
  tasks?: string[]
  fresh?: boolean
  drain?: boolean
}

/** Parses the words after `--`. Throws FB_USAGE; `undefined` when only help was asked for, which was then written. */
export function parseLaunchOptions(mode: LaunchMode, words: readonly string[]): LaunchOptions | undefined {
  const command = new Command(mode === 'cluster' ? 'npm run cluster --' : 'npm start --')
    .exitOverride()
    .configureOutput({ writeErr: () => undefined, writeOut: (text) => process.stderr.write(text) })
    .allowExcessArguments(false)
    .addOption(new Option('--feed <file>', 'feed the trades of this CSV file, gzipped or not (default: a synthetic market)'))
    .addOption(new Option('--seed <number>', 'seed of the synthetic market').argParser(wholeNumber(0, 2 ** 31 - 1)).default(1))
    .addOption(new Option('--speed <speed>', 'max, real (the pace of the feed itself) or a number of times that').argParser(speed))
    .addOption(new Option('--rate <number>', 'events per second').argParser(positive))
    .addOption(new Option('--preload', 'publish everything before the nodes start'))
    .addOption(new Option('--tasks <names>', 'run only these tasks, separated by commas').argParser(names))
    .addOption(new Option('--fresh', 'discard the state of earlier runs'))
    .addOption(new Option('--drain', 'exit when everything is applied; standard output then carries one line of JSON'))
  if (mode === 'cluster') command.addOption(new Option('--nodes <number>', 'node processes').argParser(wholeNumber(1, nodesMax)).default(3))
  try {
    command.parse([...words], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return undefined
    const message = error instanceof Error ? error.message.replace(/^error: /, '') : String(error)
    throw new ForebayError('FB_USAGE', `${message} (${command.name()} --help shows the options)`, { cause: error })
  }
  return resolve(mode, command.opts<RawOptions>())
}

function resolve(mode: LaunchMode, raw: RawOptions): LaunchOptions {
  const { preload = false, drain = false, fresh = false, feed, tasks, rate, speed: given } = raw
  if (rate !== undefined && given !== undefined)
    throw new ForebayError('FB_USAGE', '--rate and --speed both set the pace of the feed; give one of them.')
  const isPaced = rate !== undefined || (given !== undefined && given.kind !== 'max')
  if (preload && isPaced)
    throw new ForebayError(
      'FB_USAGE',
      '--preload publishes everything at once, so --rate and --speed have no meaning with it; leave them out.',
    )
  const ownPace: FeedPace = { kind: 'speed', factor: feed === undefined ? marketSpeed : 1 }
  const usual: FeedPace = preload || drain ? { kind: 'max' } : ownPace
  const pace: FeedPace = rate === undefined ? (given ?? usual) : { kind: 'rate', perSecond: rate }
  return {
    mode,
    nodes: mode === 'cluster' ? (raw.nodes ?? 3) : 1,
    feed,
    seed: raw.seed,
    pace,
    isPreloaded: preload,
    tasks,
    isFresh: fresh,
    isDrained: drain,
  }
}

function speed(text: string): FeedPace {
  if (text === 'max') return { kind: 'max' }
  if (text === 'real') return { kind: 'speed', factor: 1 }
  const factor = Number(text)
  if (!(factor > 0 && Number.isFinite(factor))) throw new InvalidArgumentError('It is max, real or a number above 0.')
  return { kind: 'speed', factor }
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('It is a number above 0.')
  return value
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`It is a whole number from ${least} to ${most}.`)
    return value
  }
}

function names(text: string): string[] {
  const found = text.split(',').map((name) => name.trim())
  if (found.some((name) => name === '')) throw new InvalidArgumentError('It is names separated by commas.')
  return found
}
