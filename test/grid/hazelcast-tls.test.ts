import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { afterAll, describe, expect, it } from 'vitest'
import { HazelcastJobGrid } from '../../src/grid/hazelcast-job-grid.ts'
import { makeAuthority } from '../support/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'forebay-hazelcast-tls-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Members of the community edition speak no TLS, so a server that speaks nothing else stands in: only the handshake is shown. */
describe('TLS with the members', () => {
  it('shows the node’s certificate and checks the member’s by the name that was given', async () => {
    const authority = makeAuthority(folder, 'authority')
    const member = authority.issue('members.test')
    const seen: string[] = []
    const server = createServer(
      {
        ca: readFileSync(authority.caFile),
        cert: readFileSync(member.certFile),
        key: readFileSync(member.keyFile),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket) => {
        seen.push(`${String(socket.getPeerCertificate().subject.CN)} asks for ${String(socket.servername)}`)
        socket.destroy()
      },
    )
    server.on('tlsClientError', () => seen.push('refused'))
    server.on('connection', (socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const members = [`127.0.0.1:${(server.address() as AddressInfo).port}`]
    const own = authority.issue('node-1')
    const attempt = (serverName: string) =>
      HazelcastJobGrid.connect({ clusterName: 'c', members, connectTimeoutMs: 700, tls: { caFile: authority.caFile, serverName, ...own } })
    await expect(attempt('members.test')).rejects.toMatchObject({ code: 'FB_GRID_UNREACHABLE' })
    expect(new Set(seen.filter((line) => line !== 'refused'))).toEqual(new Set(['node-1 asks for members.test']))
    seen.length = 0
    await expect(attempt('others.test')).rejects.toMatchObject({ code: 'FB_GRID_UNREACHABLE' })
    server.close()
  })
})
