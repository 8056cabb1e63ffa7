import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { databaseError, isConnectionLost } from '../../src/offsets/postgres-error.ts'

function raised(code: string, severity = 'ERROR'): pg.DatabaseError {
  const error = new pg.DatabaseError('it failed', 9, 'error')
  error.code = code
  error.severity = severity
  return error
}

describe('a failure of Postgres', () => {
  it.each([
    ['22P02', 'FB_BAD_JOB'],
    ['23505', 'FB_BAD_JOB'],
    ['21000', 'FB_BAD_JOB'],
    ['54000', 'FB_BAD_JOB'],
    ['P0001', 'FB_BAD_JOB'],
    ['42P01', 'FB_SCHEMA'],
    ['42703', 'FB_SCHEMA'],
    ['42501', 'FB_DATABASE_REFUSED'],
    ['3F000', 'FB_SCHEMA'],
    ['3D000', 'FB_DATABASE_REFUSED'],
    ['28P01', 'FB_DATABASE_REFUSED'],
    ['28000', 'FB_DATABASE_REFUSED'],
    ['53300', 'FB_DATABASE_FULL'],
    ['ZZ123', 'FB_SCHEMA'],
    ['40001', 'FB_DATABASE_UNREACHABLE'],
    ['40P01', 'FB_DATABASE_UNREACHABLE'],
    ['55P03', 'FB_DATABASE_UNREACHABLE'],
    ['57014', 'FB_DATABASE_UNREACHABLE'],
    ['57P01', 'FB_DATABASE_UNREACHABLE'],
    ['53100', 'FB_DATABASE_UNREACHABLE'],
    ['25006', 'FB_DATABASE_UNREACHABLE'],
    ['25P03', 'FB_DATABASE_UNREACHABLE'],
    ['25P02', 'FB_INTERNAL'],
  ])('of state %s is %s', (state, code) => {
    expect(databaseError(raised(state), 'testing')).toMatchObject({ code, message: expect.stringContaining('testing') })
  })

  it('without a state means that the database does not answer', () => {
    expect(databaseError(new Error('read ECONNRESET'), 'testing').code).toBe('FB_DATABASE_UNREACHABLE')
  })

  it('is left as it is when it has a code already', () => {
    const error = new ForebayError('FB_FENCED', 'another node')
    expect(databaseError(error, 'testing')).toBe(error)
  })

  it.each([
    [raised('57P01', 'FATAL'), true],
    [raised('25006'), true],
    [raised('08006'), true],
    [new Error('socket'), true],
    [raised('22P02'), false],
    [raised('40P01'), false],
    [new ForebayError('FB_BAD_JOB', 'x', { cause: raised('22P02') }), false],
    [new ForebayError('FB_FENCED', 'x'), false],
    [new ForebayError('FB_DATABASE_UNREACHABLE', 'x', { cause: new Error('socket') }), true],
  ])('%s: connection lost is %s', (error, expected) => {
    expect(isConnectionLost(error)).toBe(expected)
  })
})
