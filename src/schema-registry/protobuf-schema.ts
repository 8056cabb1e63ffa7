/** The message types of a schema and all that it imports, from the text of .proto files. */
import { createRequire } from 'node:module'
import type { Root, Type } from 'protobufjs'
import type { FetchedSchema } from './registry-client.ts'

/** A folder of protobufjs holds what Google defines and few import. */
const wellKnown = /^google\/protobuf\/[a-z_]+\.proto$/

export interface ProtobufSchema {
  /** Indexes of a message among those of its file, then among those in it, to its type. Throws a sentence for one that there is not. */
  type(path: readonly number[]): Type
}

/** Throws a sentence for what is no schema. */
export async function parseProtobuf({ text, references }: FetchedSchema): Promise<ProtobufSchema> {
  const { default: protobuf } = await import('protobufjs')
  const options = { keepCase: true }
  const root = new protobuf.Root()
  const given = new Set(references.map(({ name }) => name))
  const imports = [...references.map((reference) => reference.text), text].flatMap((source) => {
    const { imports: strong = [], weakImports: weak = [] } = protobuf.parse(source, new protobuf.Root(), options)
    return [...strong, ...weak]
  })
  for (const name of new Set(imports)) if (!given.has(name) && wellKnown.test(name)) addWellKnown(protobuf.common, root, name)
  for (const { text: referred } of references) protobuf.parse(referred, root, options)
  // Alone: a package may be that of its imports too, and the indexes count the messages of this file.
  const alone = new protobuf.Root()
  const { package: home } = protobuf.parse(text, alone, options)
  const own = home === undefined ? alone : alone.lookup(home)
  protobuf.parse(text, root, options)
  root.resolveAll()
  return {
    type(path) {
      let names = home ?? ''
      let level: unknown = own
      for (const index of path) {
        const messages = (level as Root).nestedArray.filter((nested) => nested instanceof protobuf.Type)
        level = messages[index]
        if (level === undefined) throw new Error(`message ${path.join('.')} is called for, and there is none`)
        names += `.${messages[index]!.name}`
      }
      return root.lookupType(names.startsWith('.') ? names : `.${names}`)
    },
  }
}

function addWellKnown(common: typeof import('protobufjs').common, root: Root, name: string): void {
  // Its declarations say that it always gives one.
  const shipped = common.get(name) as { nested?: object } | null
  const json = shipped ?? (createRequire(import.meta.url)(`protobufjs/${name.replace(/\.proto$/, '.json')}`) as { nested?: object })
  root.addJSON((json.nested ?? {}) as Parameters<Root['addJSON']>[0])
}
