/**
 * `http-request-process.ts URL PORT` requests the URL from 127.0.0.1:PORT. The program prints the status,
 * or the error's code.
 */
import { connect } from 'node:net'
import { httpStatus } from '../../src/core/http-request.js'

const [url = '', port = ''] = process.argv.slice(2)
const asked = httpStatus({
  url,
  checkCertificate: true,
  signal: new AbortController().signal,
  timeoutMs: 60_000,
  connect: async () => connect(Number(port), '127.0.0.1'),
})
const said = await asked.catch((error: NodeJS.ErrnoException) => error.code)
process.stdout.write(`${said}\n`)
