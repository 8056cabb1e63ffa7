import { fileURLToPath } from 'node:url'

/** Arguments for `node` that run a module, `from` whose URL `module` counts: from `dist` as it is, from `src` (development, tests) through tsx. */
export function nodeArguments(module: string, from: string): string[] {
  const isSource = from.endsWith('.ts')
  const path = fileURLToPath(new URL(`${module}${isSource ? '.ts' : '.js'}`, from))
  return isSource ? ['--import', import.meta.resolve('tsx'), path] : [path]
}
