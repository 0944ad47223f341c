import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { onceTried, tryKvm } from '../../../providers/libvirt/kvm.js'
import type { LocalCommands } from '../../../src/core/context.js'
import { failure, interrupted } from '../../../src/core/errors.js'

const run = { signal: new AbortController().signal, log: () => {} }

function qemu(answer: LocalCommands['run']): Pick<LocalCommands, 'run'> {
  return { run: answer }
}

it('KVM works when the guest wrote its expected output, and not merely when QEMU ended', async () => {
  const ended = (code: number) => qemu(async () => ({ kind: 'exited', code, stdout: '', stderr: '' }))
  expect(await tryKvm(ended(85), run)).toEqual({ works: true })
  expect(await tryKvm(ended(0), run)).toEqual({ works: false, why: 'the command ended with status 0' })
})

it('a KVM that stops at an instruction is abandoned at once, with its own words', async () => {
  const broken = qemu(async (_argv, options) => {
    options.onLine?.('KVM internal error. Suberror: 1')
    expect(options.signal.aborted).toBe(true)
    throw interrupted()
  })
  expect(await tryKvm(broken, run)).toEqual({ works: false, why: 'KVM internal error. Suberror: 1' })
})

it('a missing QEMU is a reason, but an interruption is not', async () => {
  const missing = qemu(async () => {
    throw failure('NOT_INSTALLED', 'the program is not installed')
  })
  expect(await tryKvm(missing, run)).toEqual({ works: false, why: 'the program is not installed' })
  const signal = AbortSignal.abort(interrupted())
  const cancelled = qemu(async () => {
    throw interrupted()
  })
  await expect(tryKvm(cancelled, { ...run, signal })).rejects.toMatchObject({ code: 'INTERRUPTED' })
})

it('the guest is 64 KiB of firmware with a jump at the reset vector, and is removed', async () => {
  let firmware = ''
  const looking = qemu(async (argv) => {
    firmware = argv.at(-1) ?? ''
    const bytes = readFileSync(firmware)
    expect(bytes.length).toBe(65_536)
    // The address after the jump is 0xfff3; 13 bytes further it wraps to 0.
    expect([...bytes.subarray(0xfff0, 0xfff3)]).toEqual([0xe9, 0x0d, 0x00])
    expect(bytes.readUInt8(0)).toBe(0xfa)
    return { kind: 'exited', code: 85, stdout: '', stderr: '' }
  })
  await tryKvm(looking, run)
  expect(existsSync(firmware)).toBe(false)
})

it('the check of KVM is tried once', async () => {
  let tried = 0
  const kvm = onceTried(async () => {
    tried += 1
    return { works: false, why: 'no' }
  })
  expect([await kvm(run), await kvm(run)]).toEqual([
    { works: false, why: 'no' },
    { works: false, why: 'no' },
  ])
  expect(tried).toBe(1)
})
