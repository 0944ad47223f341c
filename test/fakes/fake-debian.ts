import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FakeOps } from './fake-ops.js'
import { succeed, surveyOf } from './fake-ssh.js'
import { linesOf } from './script-values.js'

/** The unusual behaviour of the made-up Debian machines. */
export interface FakeDebianOptions {
  /** Returns the exit code of a machine's activation; default 0. */
  readonly activationCode?: (machine: string) => number
  readonly units?: readonly string[]
  /** The lines that an activation prints. */
  readonly says?: readonly string[]
  /** Whether an activation ends only when it is followed. */
  readonly slow?: boolean
  /** Whether dpkg requests a reboot until the machine has rebooted. */
  readonly rebootWanted?: boolean
}

/**
 * Teaches the fake SSH layer the answers of Debian machines. A folder keeps the activated closures, so that a later
 * process finds them. Keys and packages are not modelled: the engine's tests have none.
 */
export function runFakeDebian(ops: FakeOps, options: FakeDebianOptions = {}): void {
  const folder = join(ops.folder, 'machines')
  mkdirSync(folder, { recursive: true })
  const file = (machine: string, kind: string) => join(folder, `${machine}.${kind}`)
  const read = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '')
  const boot = (machine: string) => read(file(machine, 'boot')) || '1'
  const bootId = (machine: string) => `boot-${boot(machine)}`
  ops.ssh.answer('read the facts of the machine', ({ machine }) =>
    surveyOf({
      boot_id: bootId(machine),
      profile: read(file(machine, 'profile')),
      owner: read(file(machine, 'owner')),
      ...(options.rebootWanted === true && boot(machine) === '1' ? { reboot: '1' } : {}),
    }),
  )
  ops.ssh.answer('read the boot id', ({ machine }) => succeed(`${bootId(machine)}\n`))
  ops.ssh.answer('reboot', ({ machine }) => {
    writeFileSync(file(machine, 'boot'), String(Number(boot(machine)) + 1))
    return succeed()
  })
  ops.ssh.answer('take the set-up lock of the machine', succeed())
  ops.ssh.answer('release the set-up lock of the machine', succeed())
  ops.ssh.answer('read which packages are installed', succeed('ii |nix-bin|2.8.0|\n'))
  ops.ssh.answer(/other operators/, succeed())
  ops.ssh.answer('write the names of the other machines', succeed())
  ops.ssh.answer('start the activation', ({ machine, values }) => {
    const { unit = '', closure: path = '' } = values
    const [, owner = ''] = linesOf(values.options)
    writeFileSync(file(machine, 'owner'), owner)
    const code = options.activationCode?.(machine) ?? 0
    if (code === 0 && options.slow !== true) writeFileSync(file(machine, 'profile'), path)
    writeFileSync(
      file(machine, unit),
      JSON.stringify(['result', unit, path, String(code), ...(options.units ?? [])]),
    )
    return succeed()
  })
  ops.ssh.answer('follow the activation', ({ machine, values: { unit = '' } }) => {
    const record = read(file(machine, unit))
    const [, , path, code] = record === '' ? [] : JSON.parse(record)
    if (code === '0') writeFileSync(file(machine, 'profile'), path)
    const log = (options.says ?? []).map((line) => `log ${line}\n`).join('')
    return succeed(
      `${log}${record === '' ? 'state LoadState=not-found' : `record ${record}`}\nboot ${bootId(machine)}\n`,
    )
  })
  ops.ssh.answer('remove the unit of the activation', succeed())
  ops.ssh.answer('read the journal of the units that failed', succeed('unit said this\n'))
}
