import type { FakeOps } from './fake-ops.js'
import { exit, type RecordedExec, succeed } from './fake-ssh.js'

/** Behaviour of a system when a machine switches to it. */
export interface SystemBehaviour {
  /** Exit status of switch-to-configuration; 0 by default. */
  readonly status?: number
  /** Samples of services after the switch. */
  readonly samples?: readonly string[]
  /** Whether logins to the system fail, so that the guard reverts the switch. */
  readonly locksOut?: boolean
  /** Kernel of the system; a different kernel requires a reboot. */
  readonly kernel?: string
  /** Version of the system, from its file `nixos-version`. */
  readonly version?: string
  /** Values whose change forbids a switch. */
  readonly inhibitors?: Readonly<Record<string, string>>
}

/** A made-up NixOS machine of the fleet. */
export interface FleetMachine {
  current: string
  booted: string
  /** Systems of the profile's generations, oldest first. */
  readonly generations: string[]
  bootDefault: string
  previous: string
  owner: string
  boot: number
  awaits: string
  readonly runs: Map<string, Map<string, string>>
  readonly failed: string[]
  leftover: boolean
  menuPending: boolean
  /** Services that run old code. */
  readonly owed: string[]
}

/** The NixOS machines of a made-up operator. */
export interface FakeFleet {
  machine(name: string): FleetMachine
  /** Sets the behaviour of a system; a system switches without faults by default. */
  behave(path: string | undefined, behaviour: SystemBehaviour): void
  /** Runs of switch-to-configuration and changes of the boot default, for example `web test SYSTEM`. */
  readonly events: string[]
  /** Expires the timer of every guard. */
  expire(): void
}

/**
 * Teaches the fake SSH layer the answers of NixOS machines to the scripts of target/nixos. All machines begin with the
 * system `initial`. The machines follow the rules of the scripts. A switch requires the system that the look saw. Only
 * one guard runs at a time, and only one side can take a guard's file.
 */
export function runFakeFleet(ops: Pick<FakeOps, 'ssh'>, initial: string): FakeFleet {
  const machines = new Map<string, FleetMachine>()
  const behaviours = new Map<string, SystemBehaviour>()
  const events: string[] = []
  const machineOf = (name: string): FleetMachine => {
    const known = machines.get(name)
    if (known !== undefined) return known
    const made: FleetMachine = {
      ...{ current: initial, booted: initial, generations: [initial], bootDefault: initial },
      ...{ previous: '', owner: '', boot: 1, awaits: '', leftover: false, menuPending: false },
      ...{ runs: new Map(), failed: [], owed: [] },
    }
    machines.set(name, made)
    return made
  }
  const kernel = (path: string) => behaviours.get(path)?.kernel ?? '/nix/store/kernel'
  const filesOf = ({ machine, values }: RecordedExec) => {
    const run = values.run ?? values.folder?.split('/').at(-1) ?? ''
    const files = machineOf(machine).runs.get(run)
    if (files === undefined) throw new Error(`machine '${machine}' has no activation '${run}'`)
    return files
  }
  const goBack = (name: string, files: Map<string, string>) => {
    files.delete('armed')
    files.set('fired', '').set('guard-result', 'back 0 1')
    machineOf(name).current = files.get('old') ?? ''
    events.push(`${name} back ${files.get('old')}`)
  }
  const { ssh } = ops

  const systemFacts = (path: string, prefix: string) => {
    const { version = '', inhibitors = {} } = behaviours.get(path) ?? {}
    return [`${prefix}version=${version}`, `${prefix}inhibitors=${JSON.stringify(inhibitors)}`]
  }
  ssh.answer('take the set-up lock of the machine', succeed())
  ssh.answer('release the set-up lock of the machine', succeed())
  ssh.answer('write the names of the other machines', succeed())
  ssh.answer('read the facts of the machine', ({ machine, values }) => {
    const { wanted = '' } = values
    const seen = machineOf(machine)
    const last = seen.generations.at(-1) ?? ''
    return succeed(
      [
        `boot_id=boot-${seen.boot}`,
        'systems=nixos',
        'os=NixOS (made up)',
        'nix=yes',
        'free_kib=9000000',
        `current=${seen.current}`,
        `booted=${seen.booted}`,
        `profile=${last}`,
        `previous=${seen.previous}`,
        `owner=${seen.owner}`,
        `boot_default=${seen.bootDefault}`,
        `awaits=${seen.awaits}`,
        `part=kernel ${kernel(seen.booted)} ${kernel(seen.current)} ${wanted === '' ? '-' : kernel(wanted)}`,
        ...systemFacts(seen.current, ''),
        ...(wanted === '' ? [] : [`wanted=${wanted}`, ...systemFacts(wanted, 'wanted_')]),
        ...seen.generations.map((path, at) => `generation=${at + 1} ${path}`),
        ...seen.failed.map((unit) => `failed=${unit}`),
        ...[...seen.runs].flatMap(([run, files]) =>
          files.get('armed') === `boot-${seen.boot}` ? [`armed=${run}`] : [],
        ),
        ...(seen.menuPending ? [`pending=${last}`] : []),
        ...(values.report === 'true' ? seen.owed.map((unit) => `owed=${unit}`) : []),
        ...(seen.leftover ? ['leftover=/run/nixos/start-list'] : []),
      ].join('\n'),
    )
  })
  ssh.answer('read the boot id', ({ machine }) => succeed(`boot-${machineOf(machine).boot}\n`))
  const boots = new Map<string, { readonly run: string; readonly next: string; boot: number }>()
  ssh.answer('look at the boot loader', succeed('loader=grub\n'))
  ssh.answer('prepare a boot of the new system', (command) => {
    const files = filesOf(command)
    files.set('prepared', '0')
    const run = command.values.folder?.split('/').at(-1) ?? ''
    boots.set(command.machine, { run, next: files.get('new') ?? '', boot: 0 })
    return succeed()
  })
  ssh.answer('confirm the boot of the new system', ({ machine, values }) => {
    const seen = machineOf(machine)
    const once = boots.get(machine)
    const entered = once?.run === values.run && once?.boot === seen.boot
    const state = once?.run !== values.run ? 'none' : entered ? 'confirmed' : 'armed'
    const yes = entered ? 'yes' : 'no'
    return succeed(
      `boot=boot-${seen.boot}\ncurrent=${seen.current}\nentered=${yes}\nstate=${state}\nwon=${yes}\n`,
    )
  })
  ssh.answer('remove the boot of the new system from the boot menu', ({ machine }) => {
    boots.delete(machine)
    return succeed()
  })
  ssh.answer('reboot', ({ machine }) => {
    const seen = machineOf(machine)
    seen.boot += 1
    const once = boots.get(machine)
    if (once?.boot === 0) {
      once.boot = seen.boot
      seen.current = once.next
      seen.booted = once.next
      events.push(`${machine} boot once ${once.next}`)
      return succeed()
    }
    seen.current = seen.bootDefault
    seen.booted = seen.bootDefault
    events.push(`${machine} reboot ${seen.current}`)
    return succeed()
  })
  ssh.answer('start the activation', ({ machine, values }) => {
    const seen = machineOf(machine)
    const { run = '', running = '', old = '', new: next = '', action = '', owner = '' } = values
    if (seen.current !== running) return exit(76, `the machine runs ${seen.current} now\n`)
    for (const [other, files] of seen.runs) {
      if (files.get('armed') === `boot-${seen.boot}`)
        return exit(75, `the activation of run ${other} waits to be confirmed\n`)
    }
    const files = new Map([
      ['old', old],
      ['new', next],
    ])
    seen.runs.set(run, files)
    if (action !== 'dry-activate') seen.owner = owner
    if (values.guarded === 'true') files.set('armed', `boot-${seen.boot}`)
    if (action === 'none') return succeed()
    events.push(`${machine} ${action} ${next}`)
    const { status = 0 } = behaviours.get(next) ?? {}
    files.set('ended', String(status)).set('watched', '5').set('settled', '5')
    if (action === 'test' && (status === 0 || status === 4)) {
      seen.current = next
      seen.leftover = false
    }
    return succeed()
  })
  ssh.answer('follow the activation', (command) => {
    const seen = machineOf(command.machine)
    const files = filesOf(command)
    const { samples = [] } = behaviours.get(files.get('new') ?? '') ?? {}
    return succeed(
      [
        'state Id=x',
        'state LoadState=not-found',
        ...[...files].map(([name, text]) => `file ${name} ${text}`),
        ...samples.map((line) => `sample ${line}`),
        `boot boot-${seen.boot}`,
        `current ${seen.current}`,
      ].join('\n'),
    )
  })
  ssh.answer('confirm the new system', (command) => {
    const files = filesOf(command)
    if (behaviours.get(files.get('new') ?? '')?.locksOut === true && files.has('armed'))
      goBack(command.machine, files)
    if (!files.delete('armed')) return succeed('won=no\n')
    files.set(command.values.name ?? '', '')
    return succeed('won=yes\n')
  })
  ssh.answer('go back to the earlier system', (command) => {
    const files = filesOf(command)
    if (files.has('kept')) throw new Error('a system that was kept is not undone')
    if (files.delete('confirmed')) files.set('armed', '')
    if (files.has('armed')) goBack(command.machine, files)
    return succeed()
  })
  ssh.answer('make the new system the boot default', (command) => {
    const seen = machineOf(command.machine)
    const files = filesOf(command)
    const next = files.get('new') ?? ''
    files.set('kept', '0 0')
    if (seen.generations.at(-1) !== next) seen.generations.push(next)
    seen.bootDefault = next
    seen.menuPending = false
    seen.awaits = seen.current === next ? '' : `${next} boot-${seen.boot}`
    events.push(`${command.machine} keep ${next}`)
    return succeed()
  })
  ssh.answer('remove the units of the activation', (command) => {
    const files = filesOf(command)
    const [old = '', next] = [files.get('old'), files.get('new')]
    if (command.values.kept === 'true' && old !== next) machineOf(command.machine).previous = old
    return succeed()
  })
  return {
    machine: machineOf,
    behave: (path, behaviour) => behaviours.set(path ?? '', behaviour),
    events,
    expire: () => {
      for (const [name, { runs }] of machines) {
        for (const files of runs.values()) if (files.has('armed')) goBack(name, files)
      }
    },
  }
}
