/** What keys of the configuration are built of: schemas that know what people are told of them. */
import * as z from 'zod'
import { durationText, parseDuration, parseSize, sizeText } from '../text/units.ts'
import type { Measured } from '../text/units.ts'

/** What people are told about a key. */
export interface KeyDoc {
  readonly description: string
  /** The default as one writes it; absent: none. */
  readonly default?: unknown
  /** Shown in the documented preset for a key without default. */
  readonly example?: unknown
  /** Environment variable that overrides the key. */
  readonly env?: string
}

type Doc = string | (Omit<KeyDoc, 'default'> & { readonly description: string })

/** The documentation of one key; empty for what has none. */
export function docOf(schema: z.ZodType): KeyDoc {
  return { description: '', ...(schema.meta() as KeyDoc | undefined) }
}

/** The schema below optional, default and transforming wrappers. */
export function innermost(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault)
    return innermost(schema.unwrap() as z.ZodType)
  return schema
}

export function section<Shape extends z.ZodRawShape>(description: string, shape: Shape) {
  // The input of a section may leave out every key: an absent section is an empty one.
  const schema = z.strictObject(shape)
  return schema.prefault({} as z.input<typeof schema>).meta({ description })
}

export function optional<S extends z.ZodType>(schema: S, doc: Doc) {
  return schema.optional().meta({ ...docFields(doc) })
}

export function withDefault<S extends z.ZodType>(schema: S, value: z.input<S> & {}, doc: Doc) {
  return schema.prefault(value as z.input<S> & Parameters<S['prefault']>[0]).meta({ ...docFields(doc), default: value })
}

export function duration(value: string, range: Range, doc: Doc) {
  return withDefault(measured(parseDuration, durationText, range), value, doc)
}

export function size(value: string, range: Range, doc: Doc) {
  return withDefault(measured(parseSize, sizeText, range), value, doc)
}

export function durationWithout(range: Range, description: string, example: string) {
  return measured(parseDuration, durationText, range).meta({ description, example })
}

export function sizeWithout(range: Range, description: string, example: string) {
  return measured(parseSize, sizeText, range).meta({ description, example })
}

function docFields(doc: Doc): KeyDoc {
  return typeof doc === 'string' ? { description: doc } : doc
}

interface Range {
  readonly min: string
  readonly max: string
}

export function measured(parse: (text: unknown) => Measured, textOf: (value: number) => string, range: Range) {
  const [min, max] = [parse(range.min), parse(range.max)].map((bound) => ('value' in bound ? bound.value : Number.NaN)) as [number, number]
  return z.unknown().transform((written, context): number => {
    const result = parse(written)
    const problem =
      'problem' in result
        ? result.problem
        : result.value < min || result.value > max
          ? `must lie between ${textOf(min)} and ${textOf(max)}`
          : undefined
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
    return 'value' in result ? result.value : z.NEVER
  })
}
