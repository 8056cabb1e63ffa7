import { createRequire } from 'node:module'
import { ForebayError } from '../errors.ts'

/** Throws FB_PIPELINE when a library is not installed that only some pipelines need; they say so when they are loaded. */
export function demandLibrary(name: string, decoder: string): void {
  try {
    createRequire(import.meta.url).resolve(name)
  } catch {
    throw new ForebayError('FB_PIPELINE', `${decoder} needs the package ${name}: run npm install ${name}`)
  }
}
