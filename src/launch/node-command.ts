import { fileURLToPath } from 'node:url'

/** Arguments for `node` that run a module beside this one: from `dist` as it is, from `src` (development, tests) through tsx. */
export function nodeArguments(module: string): string[] {
  const isSource = import.meta.url.endsWith('.ts')
  const path = fileURLToPath(new URL(`${module}${isSource ? '.ts' : '.js'}`, import.meta.url))
  return isSource ? ['--import', import.meta.resolve('tsx'), path] : [path]
}
