import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import type { TaskMachine } from '../../../src/core/setup-task.js'
import { bindTask } from '../../../src/core/setup-task.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { taskContract } from '../task-contract.js'
import { b1, ci, restartDaemon, TwoMachines } from './two-machines.js'

const run = taskRun()
let machines: TwoMachines

beforeAll(async () => {
  machines = await TwoMachines.start()
}, 120_000)
afterAll(async () => machines?.dispose())

type Outputs = Record<string, Record<string, string>>

/** Outputs of each machine's tasks, as the state would have them. */
const state = { ci: {} as Outputs, b1: {} as Outputs }

const builder = () => ({ enable: true, for: ['ci'], hostName: '127.0.0.1', port: machines.port, maxJobs: 2 })

function onCi(b1Options: Record<string, unknown> = builder()): TaskMachine {
  const definition = { ...debianMachine({ hydra: { enable: true } }), name: ci }
  const other = peer({
    hostKey: machines.hostKey,
    outputs: state.b1,
    definition: { ...debianMachine({ builder: b1Options }), name: b1 },
  })
  return subject(definition, state.ci, new Map([[b1, other]]))
}

function onB1(options: Record<string, unknown> = builder()): TaskMachine {
  const definition = { ...debianMachine({ builder: options }), name: b1 }
  return subject(definition, state.b1, new Map([[ci, peer({ outputs: state.ci })]]))
}

const keyTask = () => wantedOf(bindTask(builderKeyTask), onCi())
const accountTask = (options?: Record<string, unknown>) => wantedOf(bindTask(builderTask), onB1(options))
const listTask = (options?: Record<string, unknown>) => wantedOf(bindTask(buildersTask), onCi(options))

/** Runs the tasks as a deploy of both machines would. */
async function deploy(options?: Record<string, unknown>): Promise<void> {
  state.ci['builder-key'] = await keyTask().apply(machines.ci.host, run)
  state.b1.builder = await accountTask(options).apply(machines.b1.host, run)
  state.ci.builders = await listTask().apply(machines.ci.host, run)
}

const verify = () => listTask().verify(machines.ci.host, run)

describe('the key pair for builders', () => {
  taskContract(() => ({
    host: machines.ci.host,
    task: keyTask(),
    verifiable: true,
    reset: 'rm -rf /etc/hydra/builders-key',
    damages: {
      'public key of another': 'echo ssh-ed25519 AAAA > /etc/hydra/builders-key/key.pub',
      'open to others': 'chmod 0644 /etc/hydra/builders-key/key',
      'owned by root': 'chown root:root /etc/hydra/builders-key/key',
      'open folder': 'chmod 0777 /etc/hydra/builders-key',
      'folder that the queue runner may not pass': 'chmod 0700 /etc/hydra',
    },
  }))

  it('stays the same key when the task runs again', async () => {
    const [first, second] = [
      await keyTask().apply(machines.ci.host, run),
      await keyTask().apply(machines.ci.host, run),
    ]
    expect(second).toEqual(first)
    expect(first.publicKey).toMatch(/^ssh-ed25519 \S+$/)
  })

  it('is left to its owner: a line that is not a key stays, and is reported', async () => {
    await keyTask().apply(machines.ci.host, run)
    await machines.ci.sh('echo mine > /etc/hydra/builders-key/key')
    await expect(keyTask().apply(machines.ci.host, run)).rejects.toMatchObject({
      message: expect.stringContaining('create the key pair for builders'),
      detail: expect.stringContaining('without a passphrase; the file was not touched'),
    })
    expect(await machines.ci.sh('cat /etc/hydra/builders-key/key')).toBe('mine')
    await machines.ci.sh('rm -r /etc/hydra/builders-key')
  })

  it('is refused as proof if it is a key of another kind', async () => {
    await keyTask().apply(machines.ci.host, run)
    await machines.ci.sh(`cd /etc/hydra/builders-key; rm key key.pub
ssh-keygen -q -t ecdsa -N '' -f key; chown hydra-queue-runner:hydra key key.pub`)
    await expect(keyTask().verify(machines.ci.host, run)).rejects.toMatchObject({
      code: 'BUILDER_KEY',
      message:
        "machine 'local': /etc/hydra/builders-key/key is not an ed25519 private key without a passphrase",
      hint: 'move /etc/hydra/builders-key/key away on the machine, then deploy again',
    })
    await machines.ci.sh('rm -r /etc/hydra/builders-key')
  })
})

describe('the account for builds', () => {
  beforeAll(async () => {
    state.ci['builder-key'] = await keyTask().apply(machines.ci.host, run)
  })

  taskContract(() => ({
    host: machines.b1.host,
    task: accountTask(),
    verifiable: true,
    placesFiles: true,
    reset: 'userdel nix-builder 2> /dev/null; rm -rf /var/lib/hydra-ops-builder',
    damages: {
      'key of somebody else':
        'echo ssh-ed25519 AAAA >> /var/lib/hydra-ops-builder/nix-builder/.ssh/authorized_keys',
      'no way to the daemon': 'gpasswd -d nix-builder nix-users > /dev/null',
      'shell that lets nobody in': 'usermod --shell /usr/sbin/nologin nix-builder',
      'locked account': 'usermod --lock nix-builder',
      'home of its own': 'chown nix-builder /var/lib/hydra-ops-builder/nix-builder/.ssh',
    },
  }))

  it('offers the capabilities of the machine, and those of the expression in their place', async () => {
    const bare = await accountTask({ enable: true, for: ['ci'] }).apply(machines.b1.host, run)
    const cores = await machines.b1.sh('nproc')
    expect(bare.entry).toMatch(
      new RegExp(`^nix-builder@b1:22 x86_64-linux ${cores} 1 (?:kvm,)?nixos-test,benchmark,big-parallel -$`),
    )
    const emulating = bindTask(builderTask)({
      ...onB1(),
      definition: {
        ...debianMachine({
          builder: { enable: true, for: ['ci'] },
          binfmt: { emulatedSystems: ['aarch64-linux'] },
        }),
        name: b1,
      },
    })
    const { entry } = (await emulating?.apply(machines.b1.host, run)) ?? {}
    expect(entry).toMatch(/^nix-builder@b1:22 x86_64-linux,aarch64-linux /)
    const given = {
      ...builder(),
      systems: ['i686-linux'],
      supportedFeatures: ['a'],
      mandatoryFeatures: ['b'],
    }
    const told = await accountTask(given).apply(machines.b1.host, run)
    expect(told.entry).toBe(`nix-builder@127.0.0.1:${machines.port} i686-linux 2 1 a,b b`)
    await accountTask().apply(machines.b1.host, run)
  })

  it('says which of its users have no key yet', async () => {
    const told = taskRun()
    const { peers: _, ...other } = onB1({ ...builder(), for: ['ci', 'operator'] })
    const awaiting = wantedOf(bindTask(builderTask), { ...other, peers: new Map([[ci, peer()]]) })
    const { for: users } = await awaiting.apply(machines.b1.host, told)
    expect(users).toBe('ci,operator')
    expect(told.lines).toEqual([
      "machine 'ci' has no key for builders yet, so it cannot build here before its own deploy",
      'this host has no key for builders yet; hydra-ops deploy creates the key',
    ])
    await accountTask().apply(machines.b1.host, run)
  })

  it('refuses users that the deployment does not have', async () => {
    await expect(accountTask({ ...builder(), for: ['cii'] }).apply(machines.b1.host, run)).rejects.toThrow(
      'deployment.builder.for names cii, and the deployment has no such machine',
    )
  })

  it('refuses itself as a user, although the machine is one of the deployment', async () => {
    const own = accountTask({ ...builder(), for: ['b1'] })
    await expect(own.apply(machines.b1.host, run)).rejects.toMatchObject({
      message: expect.stringContaining('deployment.builder.for names the machine itself'),
    })
  })

  it('refuses a machine with the name of the operator host', async () => {
    const named = bindTask(builderTask)({
      ...onB1({ ...builder(), for: 'operator' }),
      peers: new Map([[MachineName.parse('operator'), peer()]]),
    })
    await expect(named?.apply(machines.b1.host, run)).rejects.toThrow(
      'deployment.builder.for names operator, which is both a machine and the host that runs hydra-ops',
    )
  })

  it('reports a daemon that does not trust the account', async () => {
    await machines.b1.sh('sed -i "s/ nix-builder//" /etc/nix/nix.conf')
    await expect(accountTask().verify(machines.b1.host, run)).rejects.toMatchObject({
      detail: expect.stringContaining("nix-builder is not among the trusted-users of this machine's Nix"),
    })
    await machines.b1.sh('sed -i "s/trusted-users = root/& nix-builder/" /etc/nix/nix.conf')
  })
})

describe('the list of builders', () => {
  beforeAll(() => deploy())

  taskContract(() => ({
    host: machines.ci.host,
    task: listTask(),
    verifiable: true,
    placesFiles: true,
    reset: 'rm -f /etc/hydra/builders /etc/ssh/ssh_config.d/hydra-ops-builders.conf',
    damages: {
      'line gone': 'sed -i /nix-builder/d /etc/hydra/builders',
      'other port': 'sed -i "s/Port .*/Port 22/" /etc/ssh/ssh_config.d/hydra-ops-builders.conf',
    },
  }))

  it('keeps a drained builder with no job, through a deploy', async () => {
    await machines.ci.sh(
      'mkdir -p /var/lib/hydra-ops/drained-builders; : > /var/lib/hydra-ops/drained-builders/b1',
    )
    expect(await listTask().probe(machines.ci.host, run)).toEqual({ drifted: '/etc/hydra/builders differs' })
    await listTask().apply(machines.ci.host, run)
    expect(await machines.ci.sh('cut -d" " -f4 /etc/hydra/builders | tail -n 1')).toBe('0')
    await machines.ci.sh('rm /var/lib/hydra-ops/drained-builders/b1')
    await listTask().apply(machines.ci.host, run)
  })

  it('leads to a login that serves the store and does nothing else', async () => {
    const ssh = `runuser -u hydra-queue-runner -- ssh -i /etc/hydra/builders-key/key -o BatchMode=yes \
-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null nix-builder@127.0.0.1`
    const { signal } = new AbortController()
    const options = { signal, timeoutMs: 60_000, what: 'try to do more' }
    const shell = await machines.ci.host.script(`${ssh} 'echo I am in; id' < /dev/null`, [], options)
    expect(shell.stdout).not.toContain('I am in')
    const tunnel = await machines.ci.host.script(
      `timeout 20 ${ssh} -N -o ExitOnForwardFailure=yes -R 127.0.0.1:0:127.0.0.1:22 2>&1 < /dev/null`,
      [],
      options,
    )
    expect(tunnel.stdout).toMatch(/remote port forwarding failed/)
  })

  it.each<[string, () => Promise<unknown>, () => Promise<unknown>, RegExp]>([
    [
      'key that the queue runner may not read',
      () => machines.ci.sh('chown root /etc/hydra/builders-key/key'),
      () => machines.ci.sh('chown hydra-queue-runner /etc/hydra/builders-key/key'),
      /user 'hydra-queue-runner' may not read the key/,
    ],
    [
      'missing key',
      () => machines.ci.sh('mv /etc/hydra/builders-key/key /etc/ssh/moved-key'),
      () => machines.ci.sh('mv /etc/ssh/moved-key /etc/hydra/builders-key/key'),
      /the key \S+ is missing or not a private key/,
    ],
    [
      'key that the builder does not know',
      () =>
        machines.b1.sh('mv /var/lib/hydra-ops-builder/nix-builder/.ssh/authorized_keys /etc/ssh/moved-keys'),
      () =>
        machines.b1.sh('mv /etc/ssh/moved-keys /var/lib/hydra-ops-builder/nix-builder/.ssh/authorized_keys'),
      /'b1' does not accept the key for user 'nix-builder'/,
    ],
    [
      'shell that lets nobody in',
      () => machines.b1.sh('usermod --shell /usr/sbin/nologin nix-builder'),
      () => machines.b1.sh('usermod --shell /bin/sh nix-builder'),
      /the login shell prints "This account is currently not available\."/,
    ],
    [
      'account without the group of the daemon',
      () => machines.b1.sh('gpasswd -d nix-builder nix-users > /dev/null'),
      () => machines.b1.sh('gpasswd -a nix-builder nix-users > /dev/null'),
      /user 'nix-builder' may not use the Nix daemon/,
    ],
    [
      'builder without an ssh server',
      () => machines.stopSshd(),
      () => machines.startSshd(),
      /no ssh server answers at 127\.0\.0\.1:\d+/,
    ],
    [
      'pinned key that is another one',
      () => machines.changeHostKey(),
      () => machines.restoreHostKey(),
      /'127\.0\.0\.1' presents a host key other than the pinned key|the host key of '127\.0\.0\.1' is not known/,
    ],
  ])('reports a %s', async (_, damage, mend, message) => {
    await verify()
    await damage()
    try {
      await expect(verify()).rejects.toMatchObject({
        code: 'BUILDER_LOGIN',
        message: expect.stringMatching(message),
      })
    } finally {
      await mend()
    }
  })
})

describe('the proof of a builder', () => {
  beforeAll(() => deploy())

  it('is a build there for each system and kind of build, by the login of the queue runner', async () => {
    const told = taskRun()
    await listTask().verify(machines.ci.host, told)
    const on = 'ssh://nix-builder@127.0.0.1'
    expect(told.lines).toEqual([
      "builder 'b1' answers as nix-builder@127.0.0.1",
      `builder 'b1' built for x86_64-linux: ${on}`,
      expect.stringMatching(/^builder 'b1' built for x86_64-linux with .*big-parallel: ssh:/),
    ])
    expect(await machines.b1.sh('ls /nix/store | grep -c -- "-hydra-ops-builder-.*[^v]$"')).not.toBe('0')
  })

  it('leaves a drained builder out', async () => {
    await machines.ci.sh(
      'mkdir -p /var/lib/hydra-ops/drained-builders; : > /var/lib/hydra-ops/drained-builders/b1',
    )
    const told = taskRun()
    expect(await listTask().apply(machines.ci.host, told)).toMatchObject({ drained: 'b1' })
    await listTask().verify(machines.ci.host, told)
    expect(told.lines).toEqual(["builder 'b1' answers as nix-builder@127.0.0.1"])
    await machines.ci.sh('rm /var/lib/hydra-ops/drained-builders/b1')
    expect(await listTask().apply(machines.ci.host, run)).toMatchObject({ drained: '' })
  })

  it('reports a feature that the Nix of the builder lacks', async () => {
    await deploy({ ...builder(), supportedFeatures: ['onb'] })
    await expect(verify()).rejects.toMatchObject({
      code: 'BUILDER_BUILD',
      message: expect.stringMatching(
        /the build needs 'x86_64-linux' with features \{onb\}, and the Nix of 'b1' is/,
      ),
    })
    await deploy()
  })

  it('reports a daemon that does not trust the login', async () => {
    await machines.b1.sh('sed -i "s/ nix-builder//" /etc/nix/nix.conf')
    await restartDaemon(machines.b1)
    await expect(verify()).rejects.toMatchObject({
      code: 'BUILDER_BUILD',
      message: expect.stringContaining("the Nix daemon of 'b1' does not trust user 'nix-builder'"),
    })
    await machines.b1.sh('sed -i "s/trusted-users = root/& nix-builder/" /etc/nix/nix.conf')
    await restartDaemon(machines.b1)
    await verify()
  })
})

describe('a builder that left the expression', () => {
  it('is forgotten by its users first, and then loses its account', async () => {
    const off = { enable: false }
    const forgotten = listTask(off)
    expect(await forgotten.probe(machines.ci.host, run)).toMatchObject({ drifted: expect.any(String) })
    state.ci.builders = await forgotten.apply(machines.ci.host, run)
    expect(await machines.ci.sh('ls /etc/hydra /etc/ssh/ssh_config.d')).not.toMatch(/builders/)
    const gone = accountTask(off)
    expect(gone.stage).toBe('withdraw')
    expect(await gone.probe(machines.b1.host, run)).toMatchObject({ drifted: expect.any(String) })
    state.b1.builder = await gone.apply(machines.b1.host, run)
    expect(await machines.b1.sh('ls -d /var/lib/hydra-ops-builder; id nix-builder; true')).toBe('')
    expect(bindTask(builderTask)(onB1(off))).toBeUndefined()
    expect(bindTask(buildersTask)(onCi(off))).toBeUndefined()
  })
})
