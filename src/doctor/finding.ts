/** What one check found. */
export interface Finding {
  readonly area: 'this machine' | 'configuration' | 'database' | 'event log' | 'grid' | 'nodes' | 'dead letters'
  readonly severity: 'ok' | 'warn' | 'error'
  readonly what: string
  /** What comes of it; null when all is well. */
  readonly consequence: string | null
  readonly mend: string | null
}

type Area = Finding['area']

export function ok(area: Area, what: string): Finding {
  return { area, severity: 'ok', what, consequence: null, mend: null }
}

export function warn(area: Area, what: string, consequence: string, mend: string): Finding {
  return { area, severity: 'warn', what, consequence, mend }
}

export function fail(area: Area, what: string, consequence: string, mend: string): Finding {
  return { area, severity: 'error', what, consequence, mend }
}
