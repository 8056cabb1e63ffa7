/** Frames of Zstandard: some that its own library wrote (Node 24, zstdCompressSync), since Node 20 has none, and some made by hand. */

/** What `written` holds. */
const lines = Array.from({ length: 60 }, (_, i) => `{"symbol":"S${(i * 7919) % 500}","price":${(i * 104_729) % 2_000_000}}`).join('\n')
const digits = Array.from({ length: 900 }, (_, i) => String((i * i * 48_271) % 9973)).join('')

/** Content, and its frame in base64. */
export const written: Readonly<Record<string, readonly [content: string, frame: string]>> = {
  small: [
    lines,
    'KLUv/WDCBn0NAAYbOxigqdABPfDZ/GQ4GBQbsqVMMqUE6NV7FQ88ADAAMAAytg89RmSLWpxW1lJrU4v3xi9nxjdqPo1qXmlY4yGsdpAsG7NhIYmDQMAAwsEBcRDFIXEgMAAoUEg4LAQkjZK1k4e7mVOJu4qlk44xWJ0aNXZzUzWPStG4f+gTdgjNisLfe8l7Z5s+HCecyQKtzPYaHVUdpJ21yxUaNEbTMNVMIarN/F+RfGaOfDyW3XTiMTfL5FFlNrOjrBNrnRGLTQaRRZN0ZnysWH7tHiKn+Z0518uMUMbYRdrcd0xaN8Yp205yjHVoRZTiaEpS8toBe6hxGFYZzftnAEORQNQDEBBCBImqYHxUk6kH1ElS43pRqEeT+qj7nNayLqKzy9+0hM4sCeg//13T9/0cmXInyhN6U9VHseFXvk6aZpoirRRr/Wa50yzePJUoLJSsT8iJtc9/BPfWaYo3E92EM7ndxHUn/qTtbMqj1JbCmUINKSEyRZQsKVRJhYo3RVMRZYpKEVE4FPLkhhNXmnhMdBNpZyJahRe3fDkl88qJ8qSBO4thFQWjXBnFMASWf65tn1wF',
  ],
  checked: [
    lines,
    'KLUv/WTCBv0LABZhRRmASzIc2PrEDpzjMlhpIqVMMqWkcjiio9IBRwA6ADsA471jk+dCYi0oq4io7ULXhixNidLG2mntKfGe+KVIfUXzZ0PzOkISV5Da4jhW80EhCAOBAQUUJBgADBFgIAwGEAg4wGDB0CCbjDNbLEsfUmcpclwVknYZv9zJZT4Uno4ajtIqWrUqBokrqBMqqp2cENGtBk05/zJ3SCtGhPjg778Tn6D463EbMqOdqlRF1GLN4itanKtNcxlTU6Q75aHajBmTTOSX7zRxuTkSFw9L7KQUVXKzyDE0L2beNAKFLWo2kkQPoyL1KtUkn3ypiI/4r8jPTR8iExQlNhFrNrfeEL8M8TjrVladMa4nWa25MiMPJYgbkQZ2qBEgMFRgePsdgK+0BhCehCRoDyAD2RDAQVdgHKY4wxjbF8dFxR8PIt1dnaLc/QVFKMCPDPwfHAHDmOZz8CV58wm1Kf9hPqVDVmAYrCgD+E6jq0hJ5fYHGv1vDlf8R01k/FaFnXcV/g8pcA==',
  ],
  repeated: [
    'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(20_000),
    'KLUv/aCA/AoAdAEARAJhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkBAMz+P7l6AkwAAAg2AQD8/zkQAkwAAAgyAQD8/zkQAkwAAAh5AQD8/zkQAkwAAAh1AQD8/zkQAk0AAAhxAQB8fB0IAQ==',
  ],
  digits: [
    digits,
    'KLUv/WCeDCUyAFqV/A8IwHfJZWW56rj8APsA/wCtxPHM64TEngTHkAEDoWQaV795iyc6IwMJIRItQlkR/BwAcvNqMsUzbfSmJ9SIdzGN+BooCWBhFiqM3CFMY12AXDoCnDfwbpBmLuWdVMzm+GPUhJzq1iAnTUW81/OYeBqhz2cukc4UlXKdDGFpec4ughP+Ug2+wTUTwbEBJsjLLTzoIDFgmcaIf+M+iijnIbHsD1gzTtcRqNo9oI71MoaA13oH8TciST3sASzOmBrubBjjQbBRGTjAwo1/d849mGAElV9gCm4gpiIPEJNIcBlMRQ9KBgQkwRlHfNiZZC4AEEKTwme/ObmXT/Xppa+E4td3FRJbiCIAKh7hmIcrrcUQOoUmWI1I0F7ty3zrQ7YRuXgCHchpjao5qFGlMZiZvacX0zM4vZZpCA9MuspYE9M7lwNlPqY15Gs48XTLoPx2XNk1j0C9qCv+EXwMsH6TWn02I38rJqtB5hCZobAgtKXghunKg9PMxoFdNq1bmTEHKmwCIknPeUS+SWYGWsGw1JPy82UQXiRFQeZ67RK46gogh8U2DTh2Hwy7/TCjp+qLaOmP9BPFxUklMAXPHXcpBEE7kxjKXszDccimxpsIARCI6Aoi6tAzh4mAiFtKBt2ZuECvSEOaeLytpzABYky7EhPzCzsWuajmFEIeJbSX5pUQvI0LwTFjSjOSY2SlEF6KpGJ0i0G7uQzE4oVFQZ98ZB4RMSdjix9mCbdgDDs6SaNFWwHNhadn4XQgeIJBhhoxhBBELnMk9GjA56BKYgrtpDsl1gUrWxiiWSyhStC6CGORJhERmwVDIUIR4vb8jhA106wibkZCpqxlOpsGDpMC/glPBgqhPCLaEQBF+4Am7nrk1eM/HC5p3rwTwMUEhhoYBhn9JyJjCML8Q6VPJejXLKQj5NreasaTKgHiTIc2XMuC6sgAZRoKRcgKCMdAQCUAqUVIeaSLRihJqKknQtHXZBqFcVRN6DLZDGSi0r7NOVtmNDQmrAEUjPhfsr9pdKYQ4z3KEI++Ed5HgwG4EJxvgrJHcxHO7oU8hCOgzVjChfuoymkibDfOOX8FzGRL6pPjMkLQGSE6A/Fd+vEV8fOegM3RaP2GHPaJgugS0/md4wRTYVJhw/OptGn5YB5uOGVVVMzgKMp4cLFpWvunnAzMtibiVqfMhEXCp1zGcnY0irbzvcZPcSwoA71FKBMSopMyiUHB32Xi8l27kA4lUVymRx3NUfYR8sNVUhFSlj8bh+XA+GJazkxZ2NDJNAjyUBBUSnNyZv1ADFGy0s8q8WqsBZbFJew+xMYj4HxAFx6dc7JipJ7SAheYyRbyZCZ7mxiZ/VEE4BJjEBagYRAw8XhX3kuBCaihJMaQQsiMzIiISJIk6REkCMJAIEnqAxGAtwPP2Ka6gvOR6KR9N8PeJ94YZaJDQ+4hpSiwrUb/ToMJWkynnh41fOP7CxlueMei8d4R5fxGdl3rxFGww7egBMgGg81X05ga/W/uf9PU4P9IuQ4yCUHeUyNBb5ZLqbfqWxiAs1XkwKMc7HlEamtDBwwJJ4eYJI7OY026OEUrg3UOAfqREaPltUbzI8xNPK8Po2GzA1OapxwZeDz09sdT30sBmWOOBTHIiUxMDJtDyRMnwuHzfbqbBZMQ1Xm70PqJbBxqJMimWD2ANQcm3KBC10xJXnj7I6aCB5pWWpV0PazjwDQAEOM0ymHjhJzWm18Neet6hUrtsbriyKuqMYWIIMumEf55+JnXdi4RHDh1bxhbFcvYaTO3Gibxncwjk3BR9cG+fBfaRdLUeU/7kLT/dFWh0CJi8pNz8IbBwiTu3FOpl+e+uxmr6jnEg7u0NgsU0/qFmFd8V2nTERQPaawtXcxdpSfmWYHfYbyfk9ggxER/pFV1epbC8BB05Zqs/bLIe3h9ni9KScxQ7z6YxMeYDR1juiG2HjoaF7YxVsdZwEEOc5+0t9M7dQZlX6WZ41aNdRrxPqHBlv5JSVa5qvcqaaBohYSNFt4nL1l7Y4/SfW6AIpz2B9nk0K0J1SDXQ/ijCrrjiGcms1qrrOLDTyOabluSd154nBCjKbl5nwJboMjKudN+BHRsCwjVU+yol0ViAWIgvuOQP7850zN1TJQqctGNfQVV',
  ],
}

const blockTypes = { stored: 0, repeated: 1, compressed: 2 } as const

export function zstdBlock(type: keyof typeof blockTypes, body: Buffer, { isLast = false, size = body.length } = {}): Buffer {
  const head = Buffer.alloc(3)
  head.writeUIntLE(size * 8 + blockTypes[type] * 2 + Number(isLast), 0, 3)
  return Buffer.concat([head, body])
}

/** A frame with a window of 2 to the power of `windowLog` bytes around these blocks. */
export function zstdFrame(windowLog: number, ...blocks: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) * 8]), ...blocks])
}

/** A frame that holds `body` as it is, in blocks of 60,000 bytes. */
export function storedZstd(body: Buffer): Buffer {
  const blocks: Buffer[] = []
  for (let at = 0; at < body.length || blocks.length === 0; at += 60_000) {
    const part = body.subarray(at, at + 60_000)
    blocks.push(zstdBlock('stored', part, { isLast: at + 60_000 >= body.length }))
  }
  return zstdFrame(20, ...blocks)
}

/** To be passed over by readers. */
export function skippable(body: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32LE(0x184d2a50 + 7, 0)
  head.writeUInt32LE(body.length, 4)
  return Buffer.concat([head, body])
}

/** A block of 10 bytes that asks for 98,046 copies of 65,539 bytes. */
export const copiesWithoutEnd = Buffer.from([8, 0x61, 255, 255, 255, 0x54, 0, 0, 52, 1])
/** A block whose literals have a tree that is read by weights of no bits: all room of their table is one weight's. */
export const weightsWithoutEnd = Buffer.from([0x02 | (10 << 4), 0x02, 0x00, 0x08, 0xf0, 0x03, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
