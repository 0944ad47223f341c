import type { StorePath } from '../../src/core/names.js'
import { type FakeSsh, succeed } from './fake-ssh.js'

/** A made-up machine, as the scripts of target/nixos see it. */
export interface FakeNixos {
  current: string
  profile: string
  boot: string
  readonly files: Map<string, string>
  leftover: boolean
  awaits: string
  /** Service with its number of restarts, in the format of the look. */
  restarted?: string
}

/** Behaviour of the made-up machine. */
export interface NixosBehaviour {
  /** Exit status of switch-to-configuration. */
  readonly status?: number
  /** Whether the machine runs the new system afterwards. Default: for 0 and 4. */
  readonly switches?: boolean
  readonly samples?: readonly string[]
  /** Samples before the switch. */
  readonly before?: readonly string[]
  readonly log?: readonly string[]
  /** Whether the guard is faster than the confirmation. */
  readonly guardWins?: boolean
  readonly guard?: string
  readonly kept?: string
}

/** Teaches the fake SSH layer the answers of a NixOS machine that is activated from `old` to `next`. */
export function runFakeNixos(
  ssh: FakeSsh,
  machine: FakeNixos,
  { old, next }: { readonly old: StorePath; readonly next: StorePath },
  behaviour: NixosBehaviour,
): void {
  const {
    status = 0,
    samples = [],
    before = [],
    log = [],
    guardWins = false,
    guard = 'back 0 1',
    kept = '0 0',
  } = behaviour
  const { files } = machine
  const goBack = () => {
    files.delete('armed')
    files.set('fired', '').set('guard-result', guard)
    if (!guard.startsWith('none')) machine.current = old
    if (guard.startsWith('reboot')) machine.boot = 'boot-2'
    return succeed()
  }
  ssh.answer('take the set-up lock of the machine', succeed())
  ssh.answer('release the set-up lock of the machine', succeed())
  ssh.answer('read the facts of the machine', () =>
    succeed(
      [
        `boot_id=${machine.boot}`,
        `current=${machine.current}`,
        `profile=${machine.profile}`,
        `awaits=${machine.awaits}`,
        'free_kib=1000',
        'systems=nixos',
        ...(machine.restarted === undefined ? [] : [`restarted=${machine.restarted}`]),
        ...(machine.leftover ? ['leftover=/run/nixos/start-list'] : []),
      ].join('\n'),
    ),
  )
  ssh.answer('start the activation', ({ values }) => {
    files.set('old', values.old ?? '')
    if (values.guarded === 'true') files.set('armed', machine.boot)
    if (values.action === 'none') return succeed()
    files.set('ended', String(status)).set('watched', '1').set('settled', '1')
    if (behaviour.switches ?? (status === 0 || status === 4)) machine.current = values.new ?? ''
    return succeed()
  })
  ssh.answer('follow the activation', () =>
    succeed(
      [
        ...log.map((line) => `log ${line}`),
        'state Id=x',
        'state LoadState=not-found',
        ...[...files].map(([name, text]) => `file ${name} ${text}`),
        ...before.map((line) => `before ${line}`),
        ...samples.map((line) => `sample ${line}`),
        `boot ${machine.boot}`,
        `current ${machine.current}`,
      ].join('\n'),
    ),
  )
  ssh.answer('look at the boot loader', succeed('loader=grub\n'))
  ssh.answer('confirm the boot of the new system', succeed('boot=boot-1\nstate=none\n'))
  ssh.answer('confirm the new system', ({ values }) => {
    if (guardWins) goBack()
    if (!files.delete('armed')) return succeed('won=no\n')
    files.set(values.name ?? '', '')
    return succeed('won=yes\n')
  })
  ssh.answer('go back to the earlier system', goBack)
  ssh.answer('make the new system the boot default', () => {
    files.set('kept', kept)
    if (kept === '0 0') {
      machine.profile = next
      if (machine.current !== next) machine.awaits = `${next} ${machine.boot}`
    }
    return succeed()
  })
  ssh.answer('remove the units of the activation', succeed())
}
