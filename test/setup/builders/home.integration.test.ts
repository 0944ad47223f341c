import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MachineName } from '../../../src/core/names.js'
import type { PeerMachine, TaskMachine, WantedTask } from '../../../src/core/setup-task.js'
import { bindTask } from '../../../src/core/setup-task.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { nixTask } from '../../../src/setup/nix.js'
import { peer } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { withScript } from '../../fixtures/with-script.js'
import { taskContract } from '../task-contract.js'
import { asUser, b1, ci, TwoMachines } from './two-machines.js'

const run = taskRun()
let machines: TwoMachines
const state: Record<'ci' | 'b1', Record<string, Record<string, string>>> = { ci: {}, b1: {} }

/**
 * A stand-in for nix-user-chroot, which shows a folder of the home as /nix in a namespace of the user. The real program
 * keeps the user's id, but the stand-in is root in the namespace.
 */
const standIn = `#!/bin/sh
folder=$1; shift
exec unshare --map-root-user --mount sh -c 'mount --bind "$0" /nix && exec "$@"' "$folder" "$@"
`

/** A profile that prints text, as a careless profile does. */
const profile = 'echo welcome to the profile; export FROM_PROFILE=yes; PATH=$HOME/.nix-profile/bin:$PATH\n'

beforeAll(async () => {
  machines = await TwoMachines.start()
  const { b1: builder } = machines
  await builder.sh(
    `useradd --create-home --home-dir /home/alice --shell /bin/bash alice 2> /dev/null; usermod --password '*' alice
cd /home/alice
mkdir -p bin .nix/store .nix/var/nix .nix-profile/bin .nix-profile/etc/profile.d .ssh
printf %s "$1" > bin/nix-user-chroot; chmod 755 bin/nix-user-chroot
printf %s "$2" > .nix-profile/etc/profile.d/nix.sh
printf '#!/bin/sh\\n[ "$FROM_PROFILE" = yes ] && exec /usr/bin/nix-store "$@"\\n' > .nix-profile/bin/nix-store
chmod 755 .nix-profile/bin/nix-store
echo 'ssh-ed25519 AAAAOWN alice@laptop' > .ssh/authorized_keys
chown -R alice: . ; chmod 700 .ssh; chmod 600 .ssh/authorized_keys`,
    standIn,
    profile,
  )
  state.ci['builder-key'] = await task(bindTask(builderKeyTask), onCi()).apply(machines.ci.host, run)
}, 120_000)
afterAll(async () => machines?.dispose())

/** Returns the machine `b1` for the user alice, who is not root there. */
const alice = () => asUser(machines.b1, 'alice')

const wrapper = ['/home/alice/bin/nix-user-chroot', '/home/alice/.nix']
const builder = (more: Record<string, unknown> = {}) => ({
  enable: true,
  for: ['ci'],
  hostName: '127.0.0.1',
  port: machines.port,
  maxJobs: 1,
  supportedFeatures: [],
  sshUser: 'alice',
  wrapper,
  ...more,
})

function onCi(options?: Record<string, unknown>): TaskMachine {
  const definition = { ...debianMachine({ hydra: { enable: true } }), name: ci }
  const offered = { ...debianMachine({ builder: options ?? builder() }), name: b1 }
  const other = peer({ hostKey: machines.hostKey, outputs: state.b1, definition: offered })
  return subject(definition, state.ci, new Map([[b1, other]]))
}

function onB1(options?: Record<string, unknown>): TaskMachine {
  const definition = { ...debianMachine({ builder: options ?? builder() }), name: b1 }
  return subject(definition, state.b1, new Map([[ci, peer({ outputs: state.ci })]]))
}

function subject(
  definition: TaskMachine['definition'],
  outputs: TaskMachine['outputs'] & {},
  peers: ReadonlyMap<MachineName, PeerMachine>,
): TaskMachine {
  return { definition, deployment: 'lab', outputs, peers, publishedPort: () => undefined }
}

function task(bind: (machine: TaskMachine) => WantedTask | undefined, machine: TaskMachine): WantedTask {
  const found = bind(machine)
  if (found === undefined) throw new Error('the task is not wanted')
  return found
}

const homeTask = (more: Record<string, unknown> = {}) => task(bindTask(builderTask), onB1(builder(more)))
const listTask = () => task(bindTask(buildersTask), onCi())
const sh = (text: string) => machines.b1.sh(`cd /home/alice; ${text}`)

describe('a Nix in a home as a builder', () => {
  taskContract(() => ({
    host: alice(),
    task: homeTask(),
    verifiable: true,
    reset: `sed -i /hydra-ops/d ~/.ssh/authorized_keys; rm -rf ~/.config/hydra-ops`,
    damages: {
      'forced command of somebody else': 'echo exit >> ~/.config/hydra-ops/serve-store',
      'key that is gone': 'sed -i /hydra-ops:ci/d ~/.ssh/authorized_keys',
    },
  }))

  it('keeps the other keys of its user, and the modes that sshd wants', async () => {
    await homeTask().apply(alice(), run)
    const lines = (await sh('cat .ssh/authorized_keys')).split('\n')
    expect(lines).toEqual([
      'ssh-ed25519 AAAAOWN alice@laptop',
      expect.stringMatching(
        /^restrict,command="\/home\/alice\/\.config\/hydra-ops\/serve-store" ssh-ed25519 \S+ hydra-ops:ci$/,
      ),
    ])
    expect(await sh('stat -c "%a %U" .ssh/authorized_keys .config/hydra-ops/serve-store')).toBe(
      '600 alice\n755 alice',
    )
  })

  it('builds for the queue runner of another machine, in its own store', async () => {
    state.b1.builder = await homeTask().apply(alice(), run)
    state.ci.builders = await listTask().apply(machines.ci.host, run)
    const told = taskRun()
    await listTask().verify(machines.ci.host, told)
    expect(told.lines).toEqual([
      "builder 'b1' answers as alice@127.0.0.1",
      "builder 'b1' built for x86_64-linux: ssh://alice@127.0.0.1",
    ])
    expect(await sh('ls .nix/store | grep -c -- "-hydra-ops-builder-.*[^v]$"')).not.toBe('0')
    expect(await machines.b1.sh('ls /nix/store')).not.toContain('hydra-ops-builder')
  })

  it('serves a store and does nothing else', async () => {
    const ssh = `runuser -u hydra-queue-runner -- ssh -i /etc/hydra/builders-key/key -o BatchMode=yes \
-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null alice@127.0.0.1`
    for (const asked of ['', 'id', 'nix-store --serve --write; id', 'nix-store --serve', "sh -c 'id'"])
      expect(await machines.ci.sh(`cd /; ${ssh} "${asked}" < /dev/null 2>&1; true`), asked).toContain(
        'this login serves a Nix store, and does nothing else',
      )
    // The daemon ends as soon as its client hangs up, even before an answer. The pipe stays open until the answer is
    // read.
    const daemon = `cd /home/alice; mkfifo answered
{ printf '\\143\\170\\151\\156\\0\\0\\0\\0'; read -r end < answered; } |
SSH_ORIGINAL_COMMAND='nix-daemon --stdio' runuser -u alice -- env HOME=/home/alice .config/hydra-ops/serve-store 2> /dev/null |
{ od -An -c -N4 | tr -d ' '; echo > answered; }
rm answered`
    expect(await machines.b1.sh(daemon)).toBe('oixd')
  })

  it('reports a command that does not enter Nix', async () => {
    const broken = homeTask({ wrapper: ['/home/alice/bin/missing'] })
    await broken.apply(alice(), run)
    await expect(broken.verify(alice(), run)).rejects.toMatchObject({
      detail: expect.stringContaining('the command that enters Nix does not serve a store'),
      hint: expect.stringContaining('deployment.builder.wrapper'),
    })
    await homeTask().apply(alice(), run)
  })

  it('reports a login of another user, and changes nothing', async () => {
    const first = { ...onB1(builder({ sshUser: 'bob' })), outputs: {} }
    await expect(task(bindTask(builderTask), first).apply(alice(), run)).rejects.toMatchObject({
      detail: 'the login is that of user alice, and not of bob',
      hint: expect.stringContaining('deployment.targetUser = "bob"'),
    })
  })

  it('refuses a home whose path a forced command cannot have, and changes nothing', async () => {
    const moved = withScript(alice(), (text, args, options) =>
      alice().script(`HOME='/home/al ice'\n${text}`, args, options),
    )
    await expect(homeTask().apply(moved, run)).rejects.toMatchObject({
      detail: 'the home /home/al ice has a character that a forced command cannot have',
    })
    expect(await machines.b1.sh('ls -d "/home/al ice" 2> /dev/null; true')).toBe('')
  })

  it('changes no setting of the Nix of the machine, and offers no cache', () => {
    const settings = (more: Record<string, unknown>) => bindTask(nixTask)(onB1(builder(more)))?.inputs
    expect(settings({})).not.toContain('alice')
    expect(() => onB1(builder({ cache: { enable: true } }))).toThrow('a Nix in a home has no daemon')
  })

  it('is removed again, and leaves the user and the other keys', async () => {
    state.b1.builder = await homeTask().apply(alice(), run)
    const gone = task(bindTask(builderTask), onB1({ enable: false }))
    expect(gone.stage).toBe('withdraw')
    expect(await gone.probe(alice(), run)).toMatchObject({ drifted: expect.any(String) })
    state.b1.builder = await gone.apply(alice(), run)
    expect(await gone.probe(alice(), run)).toBe('done')
    expect(await sh('cat .ssh/authorized_keys; ls -d .config/hydra-ops 2>&1; id -un alice')).toMatch(
      /^ssh-ed25519 AAAAOWN alice@laptop\nls: .*No such file.*\nalice$/,
    )
    expect(bindTask(builderTask)(onB1({ enable: false }))).toBeUndefined()
  })
})
