import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { withFileFailure } from '../../src/core/file-failure.js'

function thrownBy(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('an unforeseen error of a file operation', () => {
  it('is a sentence with the file, the cause and the place to look', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ho-files-'))
    const missing = join(folder, 'missing')
    expect(withFileFailure(thrownBy(() => readFileSync(missing)))).toMatchObject({
      code: 'FILE',
      exitCode: 1,
      message: `cannot open ${missing}: no such file or folder`,
      hint: expect.stringContaining('ls -ld'),
    })
    rmSync(folder, { recursive: true })
  })

  it('names a full disk even when Node does not name the file', () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    })
    expect(withFileFailure(full)).toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining('no space left'),
    })
  })

  it('leaves any other error unchanged', () => {
    const foreseen = failure('X', 'x')
    const bug = new TypeError('x is undefined')
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' })
    for (const error of [foreseen, bug, reset, 'text']) expect(withFileFailure(error)).toBe(error)
  })
})
