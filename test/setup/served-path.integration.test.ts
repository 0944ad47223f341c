import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { hashPart, nixBase32, servedProblem } from '../../src/setup/served-path.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { signedNarInfo } from '../fakes/signed-narinfo.js'
import { taskRun } from '../fakes/task-run.js'

/** The folder with the machine's programs, in which gzip is the only unpacker. */
let bin: string
let host: LocalShellHost

beforeAll(() => {
  bin = mkdtempSync(join(tmpdir(), 'ho-served-path-'))
  for (const name of ['sh', 'mktemp', 'rm', 'sha256sum', 'cut', 'gzip'])
    symlinkSync(`/usr/bin/${name}`, join(bin, name))
  host = new LocalShellHost({ prefix: ['env', `PATH=${bin}`] })
})
afterAll(() => rmSync(bin, { recursive: true, force: true }))

const path = '/nix/store/jyz4jgzjmkvlv0g229sk89myw5rj4slg-probe'
const nar = Buffer.from('any bytes will do')
const narHash = `sha256:${nixBase32(createHash('sha256').update(nar).digest())}`

async function problem(compression: string, bytes: Buffer): Promise<string | undefined> {
  const { text, publicKey } = signedNarInfo({
    path,
    narHash,
    narSize: nar.length,
    url: 'nar/1.nar',
    more: { Compression: compression },
  })
  const get = async (asked: string) => {
    const body = asked.endsWith('.narinfo') ? Buffer.from(text) : bytes
    return { status: 200, headers: {}, body: body.toString(), bytes: body }
  }
  const served = { hash: hashPart(path), folder: '/', publicKey, get }
  return (await servedProblem(host, served, taskRun()))?.text
}

it('a NAR is unpacked by the program of the machine', async () => {
  expect(await problem('gzip', gzipSync(nar))).toBeUndefined()
  await expect(problem('gzip', nar)).rejects.toThrow(/unpack a NAR with gzip/)
})

it.each([
  ['zstd', 'zstd'],
  ['bzip2', 'bzip2'],
  ['xz', 'xz-utils'],
])(
  'a NAR whose program %s is missing on the machine is a problem that names the package %s',
  async (program, name) => {
    expect(await problem(program, nar)).toBe(
      `/nar/1.nar: the NAR is compressed with '${program}', but the machine lacks that program; set deployment.aptPackages = [ "${name}" ]`,
    )
  },
)
