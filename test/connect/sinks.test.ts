import { expect, it } from 'vitest'
import { openSinks } from '../../src/connect/sinks.ts'
import type { TaskDefinition } from '../../src/pipeline/pipeline.ts'
import type { Sink } from '../../src/sinks/sink.ts'

it('Sinks that are open are closed again when one does not open, whatever their ends throw', async () => {
  const closed: string[] = []
  const task = (name: string, open: Sink<unknown>['open']) =>
    ({ name, sink: { kind: 'own', label: name, delivery: 'ephemeral', open } }) as unknown as TaskDefinition
  const opens = (name: string) =>
    task(name, () => ({
      deliver: async () => undefined,
      close: () => {
        closed.push(name)
        throw new Error('it does not end')
      },
    }))
  const fails = task('c', () => Promise.reject(new Error('no disk')))
  await expect(openSinks([opens('a'), opens('b'), fails, opens('d')], {} as never)).rejects.toMatchObject({
    code: 'FB_SINK',
    message: 'c: no disk',
  })
  expect(closed).toEqual(['a', 'b'])
})
