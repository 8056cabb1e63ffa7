/** Puts the advice of `forebay tune` into the configuration file, or refuses without touching it. */
import type { Written } from './tune-result.ts'
import { exactSizeText } from './tune-result.ts'
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { loadConfig } from '../config/config.ts'
import type { Config } from '../config/config.ts'
import { durationText } from '../text/units.ts'
import { editConfig } from '../tune/edit-config.ts'
import type { ConfigEdit } from '../tune/edit-config.ts'
import type { TaskAdvice } from '../tune/recommend.ts'
import type { GridAdvice } from '../tune/recommend-grid.ts'

interface Advised {
  readonly advice: { readonly tasks: readonly TaskAdvice[] }
  readonly grid: GridAdvice
  readonly gridAsRouted: GridAdvice
}

/** Throws FB_CONFIG when the file would not be right afterwards; it is left as it was then. */
export function writeAdvice({ file }: Config, advised: Advised, { isRouting }: { readonly isRouting: boolean }): Written {
  const { text, changes } = editConfig(readFileSync(file, 'utf8'), editsOf(advised, isRouting))
  if (changes.length === 0) return { file, changes }
  // Beside it, since the paths in it are relative to its folder.
  const draft = join(dirname(file), `.forebay-tune-${process.pid}.yaml`)
  try {
    writeFileSync(draft, text, { mode: statSync(file).mode })
    loadConfig(draft)
    renameSync(draft, file)
  } finally {
    rmSync(draft, { force: true })
  }
  return { file, changes }
}

function editsOf({ advice, grid, gridAsRouted }: Advised, isRouting: boolean): ConfigEdit[] {
  const { queues, segmentBytesMax, capacity, backups, memberHeapMb } = isRouting ? grid : gridAsRouted
  return [
    ...(isRouting
      ? [
          { path: ['grid', 'queues'], value: queues },
          { path: ['grid', 'segmentBytesMax'], value: exactSizeText(segmentBytesMax) },
        ]
      : []),
    { path: ['grid', 'capacity'], value: capacity },
    { path: ['grid', 'backups'], value: backups },
    { path: ['grid', 'memberHeap'], value: exactSizeText(memberHeapMb * 1024 * 1024) },
    ...advice.tasks.flatMap(({ task, everyMs, rowsMax, bytesMax }) => [
      { path: ['tasks', task, 'every'], value: durationText(everyMs) },
      { path: ['tasks', task, 'rowsMax'], value: rowsMax },
      { path: ['tasks', task, 'bytesMax'], value: exactSizeText(bytesMax) },
    ]),
  ]
}
