import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { WantedTask } from '../../src/core/setup-task.js'
import { bindTask } from '../../src/core/setup-task.js'
import { binfmtTask } from '../../src/setup/binfmt.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { taskContract } from './task-contract.js'

const registered = '/proc/sys/fs/binfmt_misc'
const entry = (flags: string) => `enabled\ninterpreter /usr/bin/qemu\nflags: ${flags}\n`

let folder: string
let host: LocalShellHost

/** Stand-in for update-binfmts: an enabled entry is a file, with the flags of the package. */
const updateBinfmts = `#!/bin/sh
case $2 in qemu-arm|qemu-aarch64) ;; *) echo "update-binfmts: warning: no executable $2" >&2; exit 2 ;; esac
case $1 in
  --enable) printf 'enabled\\ninterpreter /usr/bin/qemu\\nflags: POCF\\n' > "$BINFMT/$2" ;;
  --disable) rm -f "$BINFMT/$2" ;;
  *) echo "update-binfmts: unknown argument $1" >&2; exit 2 ;;
esac
`
/** Stand-in for the settings of Nix after the task "nix". */
const nix = `#!/bin/sh
printf 'extra-platforms = %s\\nsystem = x86_64-linux\\n' "$(cat "$BINFMT/../platforms")"
`

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ho-binfmt-'))
  const bin = join(folder, 'bin')
  const entries = join(folder, 'entries')
  for (const each of [bin, entries]) mkdirSync(each)
  for (const [name, text] of Object.entries({ 'update-binfmts': updateBinfmts, nix }))
    writeFileSync(join(bin, name), text.replaceAll('$BINFMT', entries), { mode: 0o755 })
  writeFileSync(join(folder, 'platforms'), 'aarch64-linux armv7l-linux i686-linux')
  host = new LocalShellHost({ bin, moved: { [registered]: entries } })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function task(...emulatedSystems: string[]): WantedTask {
  const bound = bindTask(binfmtTask)(taskMachine({ binfmt: { emulatedSystems } }))
  if (bound === undefined) throw new Error('the task is not wanted')
  return bound
}

describe('the emulation of other systems', () => {
  taskContract(() => ({
    host,
    task: task('aarch64-linux', 'armv6l-linux', 'armv7l-linux'),
    verifiable: false,
    reset: `rm -f ${registered}/*`,
    damages: {
      'one emulator gone': `rm ${registered}/qemu-arm`,
      'disabled emulator': `echo disabled > ${registered}/qemu-arm`,
      'emulator that a sandbox does not find': `printf '${entry('POC').replaceAll('\n', '\\n')}' > ${registered}/qemu-arm`,
    },
  }))

  it('is proved by the emulators and by the platforms of Nix', async () => {
    const wanted = task('aarch64-linux', 'armv7l-linux', 'x86_64-linux')
    writeFileSync(join(folder, 'entries', 'qemu-x86_64'), entry('F'))
    await task('aarch64-linux', 'armv7l-linux').apply(host, taskRun())
    await wanted.verify(host, taskRun())
    writeFileSync(join(folder, 'platforms'), 'aarch64-linux')
    await expect(wanted.verify(host, taskRun())).rejects.toMatchObject({
      code: 'BINFMT',
      message: expect.stringContaining('the emulation is not complete: Nix does not build for armv7l-linux'),
    })
  })

  it.each([
    ['gone', undefined, 'qemu-arm is not registered'],
    ['disabled', 'disabled\n', 'qemu-arm is disabled'],
    [
      'out of reach of a sandbox',
      entry('POC'),
      'qemu-arm has no flag F, so builds in a sandbox do not find the emulator',
    ],
  ])('is refused as not complete for an emulator that is %s', async (_, text, words) => {
    writeFileSync(join(folder, 'platforms'), 'aarch64-linux armv7l-linux')
    const wanted = task('aarch64-linux', 'armv7l-linux')
    await wanted.apply(host, taskRun())
    if (text === undefined) rmSync(join(folder, 'entries', 'qemu-arm'))
    else writeFileSync(join(folder, 'entries', 'qemu-arm'), text)
    await expect(wanted.verify(host, taskRun())).rejects.toMatchObject({
      code: 'BINFMT',
      message: `machine 'local': the emulation is not complete: ${words}`,
    })
  })

  it('is refused when the kernel does not take an emulator although the package reports no error', async () => {
    const bin = join(folder, 'silent')
    mkdirSync(bin)
    writeFileSync(join(bin, 'update-binfmts'), '#!/bin/sh\nexit 0\n', { mode: 0o755 })
    rmSync(join(folder, 'entries', 'qemu-arm'), { force: true })
    const silent = new LocalShellHost({ bin, moved: { [registered]: join(folder, 'entries') } })
    await expect(task('armv7l-linux').apply(silent, taskRun())).rejects.toMatchObject({
      message: expect.stringContaining('register the emulators'),
      detail: expect.stringContaining('the kernel did not take qemu-arm'),
    })
  })

  it('says that the package lacks an emulator, or the kernel refuses it', async () => {
    await expect(task('riscv64-linux').apply(host, taskRun())).rejects.toMatchObject({
      message: expect.stringContaining('register the emulators'),
      detail: expect.stringContaining('no executable qemu-riscv64'),
    })
  })

  it('is not a task without emulated systems', () => {
    expect(bindTask(binfmtTask)(taskMachine())).toBeUndefined()
  })
})
