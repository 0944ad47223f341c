import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { download } from '../../src/images/foreign-image.js'

let folder: string
let server: Server
let url: string
let requests: number
let answer: (response: ServerResponse) => void
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-download-'))
  requests = 0
  server = createServer((_, response) => {
    requests += 1
    answer(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/image`
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true })
})

const hour = 3_600_000
const fetched = (times: { stalledMs: number; downloadMs: number }, signal = new AbortController().signal) =>
  download({ url, sha256: 'ab'.repeat(32) }, join(folder, 'disk'), { signal, log: () => {} }, times)

/** Sends a byte every 2 ms until the connection is closed. */
function drip(response: ServerResponse): void {
  const timer = setInterval(() => response.write('x'), 2)
  response.on('close', () => clearInterval(timer))
}

describe('a download of an image', () => {
  it('ends at the total deadline when it goes on and on, and the error says that bytes came', async () => {
    answer = drip
    await expect(fetched({ stalledMs: hour, downloadMs: 200 })).rejects.toMatchObject({
      code: 'DOWNLOAD',
      message: `cannot download ${url}: the download did not end within 0.2 s`,
      hint: expect.stringContaining('absolute path'),
    })
  })

  it.each([
    ['after its first bytes', (response: ServerResponse) => response.write('x')],
    ['before its first byte', () => {}],
  ])('ends at the deadline for a standstill when it stalls %s', async (_, begin) => {
    answer = begin
    await expect(fetched({ stalledMs: 200, downloadMs: hour })).rejects.toMatchObject({
      code: 'DOWNLOAD',
      message: `cannot download ${url}: the server sent nothing for 0.2 s`,
    })
  })

  it('reports an interruption, whatever came before', async () => {
    const interrupt = new AbortController()
    answer = (response) => {
      drip(response)
      interrupt.abort()
    }
    await expect(fetched({ stalledMs: hour, downloadMs: hour }, interrupt.signal)).rejects.toMatchObject({
      code: 'INTERRUPTED',
    })
  })

  it('contacts nobody when it was interrupted before it began', async () => {
    answer = drip
    await expect(fetched({ stalledMs: hour, downloadMs: hour }, AbortSignal.abort())).rejects.toMatchObject({
      code: 'INTERRUPTED',
    })
    expect(requests).toBe(0)
  })
})
