/** What rows of each column type must and must not be. Never run: the type check fails when a line below stops being right. */
import { postgresTable } from '../../src/index.ts'
import type { RowOf } from '../../src/index.ts'

type IsSame<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_ extends true>(): void => undefined
type Of<Type extends Parameters<typeof postgresTable>[1]['columns'][string]> = RowOf<{ c: Type }>['c']

holds<IsSame<Of<'int2'>, number>>()
holds<IsSame<Of<'int4?'>, number | null | undefined>>()
holds<IsSame<Of<'int8'>, number | bigint | string>>()
holds<IsSame<Of<'bigint'>, number | bigint | string>>()
holds<IsSame<Of<'float4'>, number>>()
holds<IsSame<Of<'numeric'>, string | number | bigint>>()
holds<IsSame<Of<'numeric(12,2)'>, string | number | bigint>>()
holds<IsSame<Of<'numeric(12)?'>, string | number | bigint | null | undefined>>()
holds<IsSame<Of<'varchar(40)'>, string>>()
holds<IsSame<Of<'uuid'>, string>>()
holds<IsSame<Of<'date'>, string>>()
holds<IsSame<Of<'time(3)'>, string>>()
holds<IsSame<Of<'timestamp'>, Date | string>>()
holds<IsSame<Of<'timestamptz(3)?'>, Date | string | null | undefined>>()
holds<IsSame<Of<'jsonb'>, unknown>>()
holds<IsSame<Of<'bytea'>, Uint8Array>>()
holds<IsSame<Of<'inet'>, string>>()
holds<IsSame<Of<'enum(open|shut)'>, 'open' | 'shut'>>()
holds<IsSame<Of<'enum(open|on hold)?'>, 'open' | 'on hold' | null | undefined>>()
holds<IsSame<Of<'enum(a|b)[]'>, readonly ('a' | 'b' | null)[]>>()
holds<IsSame<Of<'text[]?'>, readonly (string | null)[] | null | undefined>>()
holds<IsSame<Of<'int8[][]'>, readonly (readonly (number | bigint | string | null)[])[]>>()
holds<IsSame<Of<'numeric(5,2)[]'>, readonly (string | number | bigint | null)[]>>()

const merged = { k: 'uuid', day: 'date', size: 'int2', sum: 'numeric(12,2)', at: 'timestamptz(3)', f: 'float4', list: 'int[]', e: 'enum(a|b)' } as const
postgresTable('t', { columns: merged, upsertOn: ['k'], merge: { day: 'max', size: 'add', sum: 'add', at: 'min', f: 'max', list: 'first', e: 'last' } })
// @ts-expect-error an array has no greatest
postgresTable('t', { columns: merged, upsertOn: ['k'], merge: { list: 'max' } })
// @ts-expect-error labels have no order of their text
postgresTable('t', { columns: merged, upsertOn: ['k'], merge: { e: 'max' } })
// @ts-expect-error sums of float4 are not exact
postgresTable('t', { columns: merged, upsertOn: ['k'], merge: { f: 'add' } })
// @ts-expect-error a day cannot be added
postgresTable('t', { columns: merged, upsertOn: ['k'], merge: { day: 'add' } })
// @ts-expect-error a varchar needs its length
postgresTable('t', { columns: { c: 'varchar' } })
// @ts-expect-error three dimensions
postgresTable('t', { columns: { c: 'int[][][]' } })
