import { types } from 'node:util'
import { ForebayError, errorCodes, isForebayError } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'

/** `error` as one of ours where a copy of forebay made it, as a pipeline's module may hold; any other as it is. Runs nobody's code. */
export function adopted(error: unknown): unknown {
  if (isForebayError(error) || !types.isNativeError(error)) return error
  const own = (name: string): unknown => Object.getOwnPropertyDescriptor(error, name)?.value
  const [name, code, message] = [own('name'), own('code'), own('message')]
  if (name !== 'ForebayError' || typeof code !== 'string' || typeof message !== 'string') return error
  return Object.hasOwn(errorCodes, code) ? new ForebayError(code as ErrorCode, message, { cause: error }) : error
}
