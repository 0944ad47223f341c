import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  argvScript,
  byStdin,
  encode,
  forLoginShell,
  framedScript,
  parameterScript,
  quote,
} from '../../src/ssh/command-line.js'

const nonce = { left: '0123456789abcdef', right: 'fedcba9876543210' }

describe('quote', () => {
  it('leaves nothing for a shell to interpret', () => {
    expect(quote(`it's $(id) \`id\` "x" \\`)).toBe(`'it'\\''s $(id) \`id\` "x" \\'`)
    expect(quote('')).toBe(`''`)
  })

  it('refuses a character that no argument can hold', () => {
    expect(() => quote('a\0b')).toThrow('NUL')
    expect(() => quote('\ud800')).toThrow('an incomplete character')
  })
})

describe('argvScript', () => {
  it('is an exec of quoted words', () => {
    expect(argvScript(['ls', '-l', 'a b'])).toBe(`exec 'ls' '-l' 'a b'`)
  })

  it.each([[[]], [['']], [['-a', 'x']]])('refuses %j, because it names no program', (argv) => {
    expect(() => argvScript(argv)).toThrow('is not the name of a program')
  })

  it('passes parameters of a script as separate words', () => {
    expect(parameterScript('echo "$1"', ["it's"])).toBe(`exec 'sh' '-c' 'echo "$1"' 'sh' 'it'\\''s'`)
  })
})

describe('encode', () => {
  it('leaves only characters that every shell reads alike between single quotes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(encode(text)).toMatch(/^(?:\\0[0-7]{3}|[ "-&(-[\]-~])*$/)
      }),
    )
  })

  it('is undone by printf %b', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const bytes = encode(text).replace(/\\0([0-7]{3})/g, (_, octal: string) =>
          String.fromCharCode(Number.parseInt(octal, 8)),
        )
        expect(Buffer.from(bytes, 'latin1')).toEqual(Buffer.from(text, 'utf8'))
      }),
    )
  })
})

describe('forLoginShell', () => {
  it('passes a script as an argument', () => {
    const handed = forLoginShell(nonce, "echo 'x'")
    expect(handed.words).toBe(`sh -c 'eval "$(printf %b "$1")"' sh 'echo \\0047x\\0047'`)
    expect(handed.stdinLine).toBe('')
  })

  it('passes a script that is too long for an argument as one line of stdin', () => {
    const handed = forLoginShell(nonce, `: '${'x'.repeat(200_000)}'\n:`)
    expect(handed.words.length).toBeLessThan(300)
    expect(handed.stdinLine.split('\n')).toHaveLength(2)
    expect(handed).toEqual(byStdin(nonce, `: '${'x'.repeat(200_000)}'\n:`))
  })
})

describe('framedScript', () => {
  it('never holds the whole nonce, so that a shell that echoes its source does not open the frame', () => {
    expect(framedScript(nonce, 'true', true)).not.toContain(nonce.left + nonce.right)
  })
})
