import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameParser, newNonce } from '../../src/ssh/framing.js'

const nonce = newNonce()
const whole = nonce.left + nonce.right

interface Parsed {
  readonly output: Buffer
  readonly info: string | undefined
  readonly status: number | undefined
  readonly noise: string
}

function parse(chunks: readonly Buffer[]): Parsed {
  const output: Buffer[] = []
  const parser = new FrameParser(nonce, (bytes) => output.push(Buffer.from(bytes)))
  for (const chunk of chunks) parser.push(chunk)
  parser.end()
  return { output: Buffer.concat(output), info: parser.info, status: parser.status, noise: parser.noise }
}

function stream(output: string | Buffer, before = '', after = ''): Buffer {
  return Buffer.concat([
    Buffer.from(`${before}${whole}{12 34\n`),
    Buffer.from(output),
    Buffer.from(`${whole}}7\n${after}`),
  ])
}

describe('FrameParser', () => {
  it('keeps the output apart from what the login shell prints around it', () => {
    expect(parse([stream('hello', 'Welcome!\n', 'bye\n')])).toEqual({
      output: Buffer.from('hello'),
      info: '12 34',
      status: 7,
      noise: 'Welcome!\nbye\n',
    })
  })

  it('gives the same for every place where the stream may be split', () => {
    const bytes = stream('\n\0line\n no newline at the end é', `noise ${whole.slice(0, 20)} `, 'tail')
    const expected = parse([bytes])
    expect(expected.output.toString()).toBe('\n\0line\n no newline at the end é')
    for (let at = 0; at <= bytes.length; at++) {
      expect(parse([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(expected)
    }
    expect(parse([...bytes].map((byte) => Buffer.from([byte])))).toEqual(expected)
  })

  it('returns any bytes exactly, in any chunks', () => {
    // The pieces contain parts of the nonce, which resemble a mark at the end of a chunk.
    const piece = fc.oneof(
      fc.uint8Array().map((array) => Buffer.from(array)),
      fc.nat({ max: whole.length - 1 }).map((length) => Buffer.from(whole.slice(0, length))),
      fc.constant(Buffer.from(`${whole}{`)),
    )
    fc.assert(
      fc.property(fc.array(piece), fc.array(fc.nat({ max: 50 })), (pieces, cuts) => {
        const output = Buffer.concat([...pieces, Buffer.from('.')])
        const bytes = stream(output)
        const chunks: Buffer[] = []
        let at = 0
        for (const cut of cuts) {
          chunks.push(bytes.subarray(at, at + cut))
          at += cut
        }
        chunks.push(bytes.subarray(at))
        expect(parse(chunks).output).toEqual(output)
      }),
    )
  })

  it('has no status when the closing mark is missing or cut off', () => {
    const bytes = stream('partial')
    for (let cut = 1; cut < whole.length + 3; cut++) {
      expect(parse([bytes.subarray(0, bytes.length - cut)]).status).toBeUndefined()
    }
  })

  it('hands out the bytes of a mark that never came in full', () => {
    const text = `text ${whole.slice(0, 10)}`
    expect(parse([Buffer.from(`${whole}{\n${text}`)]).output.toString()).toBe(text)
  })

  it('does not open at a nonce that a shell echoes', () => {
    expect(parse([Buffer.from(`+ printf ${whole} x\n`), stream('out')]).output.toString()).toBe('out')
  })

  it('keeps only the end of endless noise', () => {
    const parsed = parse([Buffer.from('x'.repeat(100_000)), Buffer.from('the end')])
    expect(parsed.noise.length).toBeLessThanOrEqual(4096)
    expect(parsed.noise.endsWith('the end')).toBe(true)
  })
})
