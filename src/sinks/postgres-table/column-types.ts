/**
 * The column types of `postgresTable`, in one table: what each takes, which types of the catalogue hold it, and how it may be used.
 * The check at start, the encoder, the statements and `forebay table` go by it; README.md shows it, and a test keeps both the same.
 *
 * A declared type is read here too: `varchar(40)?` is the type varchar of size 40 that may be null, `int[]` an array of int.
 */
import type { ScalarType } from './postgres-table-definition.ts'

export interface ColumnTypeFacts {
  /** Other names of the type. */
  readonly aliases: readonly string[]
  /** Types of the catalogue that hold every value; the first is the one to advise. An enum has a name of its own. */
  readonly held: readonly string[]
  /** Types, as `format_type` writes them, of which nothing that the encoder let pass is refused. */
  readonly safe: RegExp
  /** What a text of it is cast to in a statement. Without lengths and digits: a cast would cut or round without a word. */
  readonly parameter: string
  /** May be a key column, or tell rows apart: equal values are written as the same text. */
  readonly isKey: boolean
  /** Sizes in parentheses, least and most of them. */
  readonly sizes: readonly [number, number]
  /** For the documentation: the value in TypeScript, and what else there is to know. */
  readonly value: string
  readonly note: string
}

const whole = (bits: number) => `whole numbers of ${bits} bits`
const noSizes = [0, 0] as const
const digits = '; `(p)` allows p digits behind the second and refuses more, without it the column rounds by its own'

export const columnTypes: Readonly<Record<ScalarType, ColumnTypeFacts>> = {
  int2: {
    aliases: ['smallint'],
    held: ['int2', 'int4', 'int8', 'numeric'],
    safe: /^(smallint|integer|bigint|numeric)$/,
    parameter: 'int8',
    isKey: true,
    sizes: noSizes,
    value: '`number`',
    note: `${whole(16)}; -0 is 0`,
  },
  int: {
    aliases: ['int4', 'integer'],
    held: ['int4', 'int8', 'numeric'],
    safe: /^(integer|bigint|numeric)$/,
    parameter: 'int8',
    isKey: true,
    sizes: noSizes,
    value: '`number`',
    note: `${whole(32)}; -0 is 0`,
  },
  bigint: {
    aliases: ['int8'],
    held: ['int8', 'numeric'],
    safe: /^(bigint|numeric)$/,
    parameter: 'int8',
    isKey: true,
    sizes: noSizes,
    value: '`number`, `bigint`, digits as `string`',
    note: `${whole(64)}; a \`number\` only up to 2^53`,
  },
  float4: {
    aliases: ['real'],
    held: ['float4', 'float8'],
    safe: /^(real|double precision)$/,
    parameter: 'float8',
    isKey: false,
    sizes: noSizes,
    value: '`number`',
    note: 'finite numbers that come out of a float4 as they went in: 0.1, but not 0.123456789; -0 stays -0',
  },
  double: {
    aliases: ['float8'],
    held: ['float8'],
    safe: /^double precision$/,
    parameter: 'float8',
    isKey: false,
    sizes: noSizes,
    value: '`number`',
    note: 'finite numbers; -0 stays -0',
  },
  numeric: {
    aliases: ['decimal'],
    held: ['numeric'],
    safe: /^numeric$/,
    parameter: 'numeric',
    isKey: false,
    sizes: [0, 2],
    value: '`number`, `bigint`, `string` such as `"-12.50"`',
    note: 'exact decimals; `numeric(p,s)` refuses what has more digits, without it the column rounds by its own',
  },
  boolean: {
    aliases: ['bool'],
    held: ['bool'],
    safe: /^boolean$/,
    parameter: 'bool',
    isKey: true,
    sizes: noSizes,
    value: '`boolean`',
    note: '`true` and `false` alone',
  },
  text: {
    aliases: [],
    held: ['text', 'varchar', 'bpchar', 'uuid'],
    safe: /^(text|character varying)$/,
    parameter: 'text',
    isKey: true,
    sizes: noSizes,
    value: '`string`',
    note: 'no U+0000, no half of a surrogate pair; enums too. A `varchar(n)` cuts spaces beyond n and a `char(n)` adds some: declare `varchar(n)`',
  },
  varchar: {
    aliases: [],
    held: ['varchar', 'text'],
    safe: /^(text|character varying)$/,
    parameter: 'text',
    isKey: true,
    sizes: [1, 1],
    value: '`string`',
    note: '`varchar(n)`: as `text`, at most n characters, spaces too',
  },
  uuid: {
    aliases: [],
    held: ['uuid'],
    safe: /^uuid$/,
    parameter: 'text',
    isKey: true,
    sizes: noSizes,
    value: '`string`',
    note: '32 hexadecimal digits with four hyphens; capitals become small',
  },
  enum: {
    aliases: [],
    held: ['enum', 'text', 'varchar'],
    safe: /^text$/,
    parameter: 'text',
    isKey: true,
    sizes: noSizes,
    value: 'the labels as `string`',
    note: '`enum(open|shut)`: these labels alone, each of which the enum of the table has',
  },
  date: {
    aliases: [],
    held: ['date'],
    safe: /^date$/,
    parameter: 'date',
    isKey: true,
    sizes: noSizes,
    value: '`string` such as `"2026-11-28"`',
    note: 'days that exist, of the years 1 to 9999; no `Date`, whose day depends on the time zone',
  },
  time: {
    aliases: [],
    held: ['time'],
    safe: /^time(\(\d\))? without time zone$/,
    parameter: 'time',
    isKey: true,
    sizes: [0, 1],
    value: '`string` such as `"09:30:00.000001"`',
    note: `up to \`24:00:00\`, microseconds, no zone${digits}`,
  },
  timestamp: {
    aliases: [],
    held: ['timestamp'],
    safe: /^timestamp(\(\d\))? without time zone$/,
    parameter: 'timestamp',
    isKey: true,
    sizes: [0, 1],
    value: '`Date`, `string` such as `"2026-11-28T09:30:00.000001"`',
    note: `microseconds, years 1 to 9999; a \`Date\` is written as its time in UTC, a \`string\` has no zone${digits}`,
  },
  timestamptz: {
    aliases: [],
    held: ['timestamptz'],
    safe: /^timestamp(\(\d\))? with time zone$/,
    parameter: 'timestamptz',
    isKey: true,
    sizes: [0, 1],
    value: '`Date`, `string` such as `"2026-11-28T09:30:00.000001Z"`',
    note: `microseconds, years 1 to 9999; a \`string\` has its zone, \`Z\` or \`+05:30\`${digits}`,
  },
  json: {
    aliases: [],
    held: ['jsonb', 'json'],
    safe: /^json$/,
    parameter: 'json',
    isKey: false,
    sizes: noSizes,
    value: 'any that JSON can say',
    note: 'no `NaN` or `Infinity` at any depth, which `JSON.stringify` makes null; -0 is 0',
  },
  jsonb: {
    aliases: [],
    held: ['jsonb'],
    safe: /^jsonb$/,
    parameter: 'jsonb',
    isKey: false,
    sizes: noSizes,
    value: 'any that JSON can say',
    note: 'as `json`; no U+0000 and no half of a surrogate pair in its texts',
  },
  bytea: {
    aliases: [],
    held: ['bytea'],
    safe: /^bytea$/,
    parameter: 'bytea',
    isKey: true,
    sizes: noSizes,
    value: '`Uint8Array`, `Buffer`',
    note: 'any bytes',
  },
  inet: {
    aliases: [],
    held: ['inet'],
    safe: /^inet$/,
    parameter: 'inet',
    isKey: true,
    sizes: noSizes,
    value: '`string` such as `"10.0.0.1"`, `"fe80::1/64"`',
    note: 'addresses of IPv4 and IPv6, with the bits of the network or without; no zone',
  },
}

export const scalarTypes = Object.keys(columnTypes) as readonly ScalarType[]
export const keyTypes = scalarTypes.filter((type) => columnTypes[type].isKey)

/** A type without its array and its question mark. */
export interface ScalarShape {
  readonly type: ScalarType
  readonly sizes: readonly number[]
  /** Of an enum. */
  readonly labels: readonly string[]
}

export interface ColumnShape extends ScalarShape {
  /** 0: no array. The other fields are those of its elements. */
  readonly dimensions: number
  readonly isNullable: boolean
}

/** Dimensions at most: what the types of TypeScript name. */
export const dimensionsMax = 2

const typeByName = new Map(scalarTypes.flatMap((type) => [type, ...columnTypes[type].aliases].map((name) => [name, type] as const)))

/** Undefined: there is no such type. */
export function parseColumnType(declared: string): ColumnShape | undefined {
  const [, name = '', inner, arrays = '', mark] = /^(\w+)(?:\((.*)\))?((?:\[\])*)(\??)$/s.exec(declared) ?? []
  const type = typeByName.get(name)
  const dimensions = arrays.length / 2
  if (type === undefined || dimensions > dimensionsMax) return undefined
  const rest = { type, dimensions, isNullable: mark === '?' }
  if (type === 'enum') {
    const labels = inner?.split('|') ?? []
    return labels.length === 0 || labels.includes('') || new Set(labels).size < labels.length ? undefined : { ...rest, sizes: [], labels }
  }
  const sizes = inner === undefined ? [] : inner.split(',').map((size) => (/^ ?\d{1,8}$/.test(size) ? Number(size) : -1))
  return areSizes(type, sizes) ? { ...rest, sizes, labels: [] } : undefined
}

function areSizes(type: ScalarType, sizes: readonly number[]): boolean {
  const [least, most] = columnTypes[type].sizes
  if (sizes.length < least || sizes.length > most || sizes.includes(-1)) return false
  const [first, second = 0] = sizes
  if (first === undefined) return true
  if (type === 'numeric') return first >= 1 && first <= 1000 && second <= first
  return type === 'varchar' ? first >= 1 && first <= 10_485_760 : first <= 6
}

/** Whether a column of the type `found`, as `format_type` writes it, takes every value that was encoded for `shape`. */
export function isSeenTo({ type, dimensions }: Pick<ColumnShape, 'type' | 'dimensions'>, found: string): boolean {
  const element = found.replace(/\[\]$/, '')
  return (element !== found) === dimensions > 0 && columnTypes[type].safe.test(element)
}

/** Its name in a sentence: `varchar(40)[]`. */
export function typeText({ type, sizes, labels, dimensions }: Omit<ColumnShape, 'isNullable'>): string {
  const inner = type === 'enum' ? labels.join('|') : sizes.join(',')
  return `${type}${inner === '' ? '' : `(${inner})`}${'[]'.repeat(dimensions)}`
}
