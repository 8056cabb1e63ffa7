/** Certificates for tests, made by openssl: authorities, and what they sign. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
  /** Key and certificate in one file, as a broker's key store of type PEM. */
  readonly bothFile: string
}

export interface Authority {
  readonly caFile: string
  /** A certificate for `name` (a host name, or an IP address); of the year 2020 when `isExpired`. */
  issue(name: string, options?: { readonly isExpired?: boolean }): Certificate
}

/** An authority of its own, with its files in `folder`. */
export function makeAuthority(folder: string, authority: string): Authority {
  const dir = join(folder, authority)
  mkdirSync(join(dir, 'issued'), { recursive: true })
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  const caFile = join(dir, 'ca.pem')
  writeFileSync(join(dir, 'index.txt'), '')
  writeFileSync(join(dir, 'serial'), '01')
  writeFileSync(join(dir, 'ca.cnf'), caConfig(dir))
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-days',
    '30',
    '-subj',
    `/CN=${authority}`,
  )
  let count = 0
  return {
    caFile,
    issue(name, { isExpired = false } = {}) {
      const stem = join(dir, `${count++}-${name}`)
      const kind = /^[\d.]+$/.test(name) ? 'IP' : 'DNS'
      writeFileSync(`${stem}.ext`, `subjectAltName=${kind}:${name}\nbasicConstraints=CA:FALSE\n`)
      openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${stem}.key`, '-out', `${stem}.csr`, '-subj', `/CN=${name}`)
      const times = isExpired ? ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z'] : ['-days', '20']
      const out = ['-in', `${stem}.csr`, '-out', `${stem}.pem`, '-extfile', `${stem}.ext`]
      openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', ...times, ...out)
      writeFileSync(`${stem}.both.pem`, readFileSync(`${stem}.key`, 'utf8') + readFileSync(`${stem}.pem`, 'utf8'))
      for (const file of [`${stem}.key`, `${stem}.both.pem`]) chmodSync(file, 0o600)
      return { certFile: `${stem}.pem`, keyFile: `${stem}.key`, bothFile: `${stem}.both.pem` }
    },
  }
}

function caConfig(dir: string): string {
  return `[ca]
default_ca = own
[own]
dir = ${dir}
database = ${join(dir, 'index.txt')}
new_certs_dir = ${join(dir, 'issued')}
certificate = ${join(dir, 'ca.pem')}
private_key = ${join(dir, 'ca.key')}
serial = ${join(dir, 'serial')}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
`
}
