/** The configuration file of one node of the launcher: the preset config/forebay.yaml with what belongs to this run put in. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { packageRoot } from './package-root.ts'

interface Section {
  readonly [key: string]: unknown
}

/** Writes the file (mode 0600); `values` replace those of the preset, section by section. */
export function writeNodeFile(path: string, values: Section): void {
  const presetPath = join(packageRoot, 'config', 'forebay.yaml')
  const preset: unknown = existsSync(presetPath) ? parse(readFileSync(presetPath, 'utf8')) : {}
  writeFileSync(path, stringify(merged(isSection(preset) ? preset : {}, values)), { mode: 0o600 })
}

/** `values` over `preset`; a value of undefined takes the key out. Pure. */
export function merged(preset: Section, values: Section): Section {
  const result: Record<string, unknown> = { ...preset }
  for (const [key, value] of Object.entries(values)) {
    const below = result[key]
    if (value === undefined) delete result[key]
    else result[key] = isSection(value) && isSection(below) ? merged(below, value) : value
  }
  return result
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
