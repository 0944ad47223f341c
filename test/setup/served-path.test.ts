import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { EndedEarly, type HttpAnswer } from '../../src/core/http-request.js'
import { MachineName } from '../../src/core/names.js'
import type { CommandResult, Host } from '../../src/core/ssh.js'
import { hashPart, nixBase32, servedProblem } from '../../src/setup/served-path.js'
import { readScript } from '../fakes/script-values.js'
import { signedNarInfo } from '../fakes/signed-narinfo.js'
import { taskRun } from '../fakes/task-run.js'

const nar = Buffer.from('any bytes\0 will do\xff', 'latin1')
const packed = Buffer.from('what a compressor made of them')
const path = '/nix/store/jyz4jgzjmkvlv0g229sk89myw5rj4slg-probe'
const base32 = (bytes: Uint8Array) => `sha256:${nixBase32(createHash('sha256').update(bytes).digest())}`

/** Creates a machine whose unpacker turns the packed bytes into the NAR, and fails for all other bytes. */
function machine(): Host {
  const script = async (text: string, _: readonly string[], { stdin }: { stdin?: unknown }) => {
    const { program } = readScript(text).values
    const knows = program === 'xz' && stdin instanceof Uint8Array && packed.equals(stdin)
    const stdout = knows ? `${createHash('sha256').update(nar).digest('hex')}\n` : ''
    const stderr = knows ? '' : `${program}: (stdin): File format not recognized`
    return { kind: 'exited', code: knows ? 0 : 1, stdout, stderr } satisfies CommandResult
  }
  return { machine: MachineName.parse('ci'), script } as unknown as Host
}

function ended(size: number, announced?: string): EndedEarly {
  return new EndedEarly(size, { headers: announced === undefined ? {} : { 'content-length': announced } })
}

const fields = { path, narHash: base32(nar), narSize: nar.length, url: 'nar/1.nar' }

function problem(
  narinfo: { text: string; publicKey: string },
  body: Uint8Array,
  more: { status?: number; folder?: string } = {},
): Promise<string | undefined> {
  const { folder = '/' } = more
  const answer = (status: number, bytes: Uint8Array): HttpAnswer => ({
    status,
    headers: {},
    body: Buffer.from(bytes).toString(),
    bytes,
  })
  const get = async (asked: string) => {
    if (asked === `${folder}${hashPart(path)}.narinfo`) return answer(200, Buffer.from(narinfo.text))
    if (asked === `${folder}nar/1.nar`) return answer(more.status ?? 200, body)
    return answer(404, Buffer.from('No such path.\n'))
  }
  const served = { hash: hashPart(path), folder, publicKey: narinfo.publicKey, get }
  return servedProblem(machine(), served, taskRun()).then((found) => found?.text)
}

describe('a path that a cache serves', () => {
  it.each<[string, Record<string, string>, Uint8Array]>([
    ['as it is', { Compression: 'none' }, nar],
    [
      'with a hash of the file, in a compression that is not known',
      { Compression: 'br', FileHash: base32(packed) },
      packed,
    ],
    ['with a hash of the file that is unpacked too', { Compression: 'xz', FileHash: base32(packed) }, packed],
    ['compressed, without a hash of the file', { Compression: 'xz' }, packed],
  ])('is in order %s', async (_, more, body) => {
    expect(await problem(signedNarInfo({ ...fields, more }), body)).toBeUndefined()
    expect(
      await problem(signedNarInfo({ ...fields, more }), body, { folder: '/static-cache/' }),
    ).toBeUndefined()
  })

  it.each(['hex', 'base64'] as const)('is in order with its hash in %s', async (encoding) => {
    const digest = createHash('sha256').update(nar).digest(encoding)
    const narHash = encoding === 'hex' ? `sha256:${digest}` : `sha256-${digest}`
    expect(
      await problem(signedNarInfo({ ...fields, narHash, more: { Compression: 'none' } }), nar),
    ).toBeUndefined()
  })

  it.each<[string, Record<string, string>, Uint8Array, RegExp]>([
    ['an empty NAR', { Compression: 'none' }, Buffer.of(), /^\/nar\/1\.nar: the NAR is empty$/],
    ['an empty NAR of Hydra’s own', { Compression: 'xz' }, Buffer.of(), /the NAR is empty$/],
    ['another content', { Compression: 'none' }, Buffer.from('other'), /the NAR has the hash .* instead of /],
    ['half of it', { Compression: 'none' }, nar.subarray(0, 5), /the NAR has the hash .* instead of /],
    [
      'a file with a hash other than the signed one',
      { Compression: 'br', FileHash: base32(packed) },
      nar,
      /has the hash/,
    ],
    [
      'a file that has its own hash, which nobody signed, and another NAR',
      { Compression: 'none', FileHash: base32(packed) },
      packed,
      /the NAR has the hash .* instead of /,
    ],
    [
      'a compression that is not known',
      { Compression: 'lz4' },
      packed,
      /compressed with 'lz4', which hydra-ops does not support/,
    ],
  ])('is not in order with %s', async (_, more, body, message) => {
    expect(await problem(signedNarInfo({ ...fields, more }), body)).toMatch(message)
  })

  it('is not in order when the unpacker refuses the file, or its NAR is not found', async () => {
    const compressed = signedNarInfo({ ...fields, more: { Compression: 'xz' } })
    await expect(problem(compressed, nar)).rejects.toThrow(/unpack a NAR with xz/)
    const plain = signedNarInfo({ ...fields, more: { Compression: 'none' } })
    expect(await problem(plain, Buffer.from('No such path.\n'), { status: 404 })).toBe(
      '/nar/1.nar: the NAR answers with status 404, No such path.',
    )
  })

  it.each<[string, string, Buffer | EndedEarly, boolean]>([
    ['ends before its first byte', 'nar/1.nar: the answer ended after 0 of 9 bytes', ended(0, '9'), true],
    ['ends before its first chunk', 'nar/1.nar: the answer ended after 0 bytes', ended(0), true],
    ['has no byte', 'nar/1.nar: the NAR is empty', Buffer.of(), true],
    ['ends in its middle', 'nar/1.nar: the answer ended after 5 of 9 bytes', ended(5, '9'), false],
    ['has another content', 'nar/1.nar: the NAR has the hash', Buffer.from('other'), false],
  ])('tells whether no byte of its NAR came: it %s', async (_, text, nar, emptyNar) => {
    const narinfo = signedNarInfo({ ...fields, more: { Compression: 'none' } })
    const get = async (asked: string): Promise<HttpAnswer> => {
      const bytes = asked === '/nar/1.nar' ? nar : Buffer.from(narinfo.text)
      if (bytes instanceof EndedEarly) throw bytes
      return { status: 200, headers: {}, body: bytes.toString(), bytes }
    }
    const served = { hash: hashPart(path), folder: '/', publicKey: narinfo.publicKey, get }
    expect(await servedProblem(machine(), served, taskRun())).toEqual({
      text: expect.stringContaining(text),
      emptyNar,
    })
  })

  it('is not in order with a signature of another key, whatever its NAR is', async () => {
    const { publicKey } = signedNarInfo(fields)
    const narinfo = signedNarInfo({ ...fields, more: { Compression: 'none' } })
    expect(await problem({ ...narinfo, publicKey }, nar)).toMatch(/is not signed by the key of this machine$/)
  })
})

describe('a hash in base 32', () => {
  it('is written in the form of Nix', () => {
    const of = (text: string) => nixBase32(createHash('sha256').update(text).digest())
    expect(of('')).toBe('0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73')
    expect(of('abc')).toBe('1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s')
  })
})
