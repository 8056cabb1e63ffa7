import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { databaseError, isConnectionLost } from '../../src/database/postgres-error.ts'

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
    ['53100', 'FB_DATABASE_FULL'],
    ['53200', 'FB_DATABASE_UNREACHABLE'],
    ['58030', 'FB_DATABASE_UNREACHABLE'],
    ['58P01', 'FB_SCHEMA'],
    ['XX000', 'FB_DATABASE_UNREACHABLE'],
    ['XX001', 'FB_SCHEMA'],
    ['XX002', 'FB_SCHEMA'],
    ['0A000', 'FB_SCHEMA'],
    ['22001', 'FB_BAD_JOB'],
    ['22021', 'FB_BAD_JOB'],
    ['23502', 'FB_SCHEMA'],
    ['23503', 'FB_BAD_JOB'],
    ['23P01', 'FB_BAD_JOB'],
    ['54011', 'FB_SCHEMA'],
    ['55000', 'FB_SCHEMA'],
    ['P0000', 'FB_SCHEMA'],
    ['P0004', 'FB_SCHEMA'],
    ['26000', 'FB_DATABASE_REFUSED'],
    ['25006', 'FB_DATABASE_UNREACHABLE'],
    ['25P03', 'FB_DATABASE_UNREACHABLE'],
    ['25P02', 'FB_INTERNAL'],
  ])('of state %s is %s', (state, code) => {
    expect(databaseError(raised(state), 'testing')).toMatchObject({ code, message: expect.stringContaining('testing') })
  })

  it('of a check is of a job when the check has a name, and of the table when no partition takes the row', () => {
    const check = raised('23514')
    check.constraint = 'positive'
    expect(databaseError(check, 'testing').code).toBe('FB_BAD_JOB')
    expect(databaseError(raised('23514'), 'testing')).toMatchObject({
      code: 'FB_SCHEMA',
      message: expect.stringContaining('create the partition'),
    })
  })

  it('says what to do about a full disk', () => {
    expect(databaseError(raised('53100'), 'flushing').message).toMatch(/no room left for flushing.*free or add disk space.*by itself/)
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
    [raised('0A000'), true],
    [raised('26000'), true],
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
