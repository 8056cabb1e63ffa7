/** What a failed TLS handshake means for a person, by the code that Node.js gives it. */

/** How the settings are called that mend it. */
export interface TlsNames {
  /** Where the believed authorities are said. */
  readonly ca: string
  /** Where the client's own certificate is said. */
  readonly cert: string
  /** Where the name on the server's certificate is said. */
  readonly name: string
  /** Where TLS is switched on. */
  readonly on: string
}

/** The code of a plain connection that was answered by a TLS alert. */
export const tlsWantedCode = 'FB_TLS_WANTED'
/** The code of a connection that was reset in the middle of its handshake. */
export const hungUpCode = 'FB_TLS_HUNG_UP'

const causesMax = 8

type Words = (names: TlsNames) => string

const unknownAuthority: Words = ({ ca }) =>
  `the certificate of the server is of an authority that is not believed here; give the authority’s certificate as ${ca}`
const clientRefused: Words = ({ cert }) =>
  `the server does not accept this client’s certificate, or wants one and got none; give one of an authority that the server believes as ${cert}`

const wordsByCode: Readonly<Record<string, Words>> = {
  CERT_HAS_EXPIRED: () => 'the certificate of the server, or of its authority, has expired; renew it, and check the clock of this machine',
  CERT_NOT_YET_VALID: () => 'the certificate of the server is not valid yet; check the clock of this machine',
  CERT_REVOKED: () => 'the certificate of the server was revoked; renew it',
  ERR_TLS_CERT_ALTNAME_INVALID: ({ name }) =>
    `the certificate of the server is for another name; connect by a name that is on it, or give that name as ${name}`,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  CERT_UNTRUSTED: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  INVALID_CA: unknownAuthority,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: clientRefused,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: clientRefused,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: clientRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: clientRefused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: () => 'this client’s certificate has expired; renew it',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: () => 'this client’s certificate was revoked; renew it',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: clientRefused,
  ERR_SSL_WRONG_VERSION_NUMBER: ({ on }) => `the server does not speak TLS on this port; take away ${on}, or name its TLS port`,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: () => 'the server speaks no version of TLS that Node.js still takes (1.2 and 1.3); update it',
  [hungUpCode]: ({ on }) =>
    `the server hung up while TLS was agreed on: it does not speak TLS on this port; take away ${on}, or name its TLS port`,
  [tlsWantedCode]: ({ on }) => `the server speaks TLS on this port; give ${on}, or name its plain port`,
}

/** What went wrong with TLS and what to do; undefined when `error`, or what caused it, has nothing to do with TLS. */
export function tlsRefusal(error: unknown, names: TlsNames): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < causesMax; at = at.cause, depth++) {
    const { code } = at as Error & { readonly code?: unknown }
    if (typeof code === 'string' && Object.hasOwn(wordsByCode, code)) return wordsByCode[code]!(names)
  }
  return undefined
}
