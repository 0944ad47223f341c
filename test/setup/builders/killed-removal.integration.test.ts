import { afterAll, beforeAll, expect, it } from 'vitest'
import { drainFolder } from '../../../src/core/builder-offer.js'
import { bindTask, type TaskMachine, type WantedTask } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask, sshSettingsFile } from '../../../src/setup/builders/builders-task.js'
import { builderCacheTask } from '../../../src/setup/builders/cache-task.js'
import { builderCachesTask, cachesSshFile } from '../../../src/setup/builders/caches-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { cachesFile } from '../../../src/setup/nix-settings.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import type { RootNamespace } from '../../fixtures/root-namespace.js'
import { CrashingHost, crashesMs } from '../task-contract.js'
import { asUser, b1, ci, includeFurtherSettings, TwoMachines } from './two-machines.js'

type Outputs = Record<string, Record<string, string>>

const run = taskRun()
let machines: TwoMachines
/** Outputs of each machine's tasks, as the state would have them. */
const state = { ci: {} as Outputs, b1: {} as Outputs }

beforeAll(async () => {
  machines = await TwoMachines.start()
  for (const machine of [machines.ci, machines.b1]) await includeFurtherSettings(machine)
  await machines.b1.sh(
    'useradd --create-home --home-dir /home/alice alice; cd /home/alice; mkdir .ssh; echo "$1" > .ssh/authorized_keys; chown -R alice: .ssh',
    ownKey,
  )
}, 120_000)
afterAll(async () => machines?.dispose())

/** Line of the user alice, which hydra-ops did not write. */
const ownKey = 'ssh-ed25519 AAAAOWN alice@laptop'

type Options = Record<string, unknown>

const on = (more: Options = {}) => ({
  enable: true,
  for: ['ci'],
  hostName: '127.0.0.1',
  port: machines.port,
  maxJobs: 2,
  ...more,
})
const off = { enable: false }
const cached = () => on({ cache: { enable: true } })
const inHome = () => on({ sshUser: 'alice', wrapper: ['/home/alice/bin/enter'] })
const alice = () => asUser(machines.b1, 'alice')

function onCi(builder: Options): TaskMachine {
  const other = peer({
    hostKey: machines.hostKey,
    outputs: state.b1,
    definition: { ...debianMachine({ builder }), name: b1 },
  })
  return subject(
    { ...debianMachine({ hydra: { enable: true } }), name: ci },
    state.ci,
    new Map([[b1, other]]),
  )
}

function onB1(builder: Options): TaskMachine {
  return subject(
    { ...debianMachine({ builder }), name: b1 },
    state.b1,
    new Map([[ci, peer({ outputs: state.ci })]]),
  )
}

const keyTask = (builder = on()) => wantedOf(bindTask(builderKeyTask), onCi(builder))
const accountTask = (builder: Options) => wantedOf(bindTask(builderTask), onB1(builder))
const listTask = (builder: Options) => wantedOf(bindTask(buildersTask), onCi(builder))
const cacheTask = (builder: Options) => wantedOf(bindTask(builderCacheTask), onB1(builder))
const cachesTask = (builder: Options) => wantedOf(bindTask(builderCachesTask), onCi(builder))

/** Sets up the builder as a deploy of both machines would. */
async function setUp(): Promise<void> {
  state.ci['builder-key'] = await keyTask().apply(machines.ci.host, run)
  state.b1.builder = await accountTask(on()).apply(machines.b1.host, run)
  await machines.ci.sh(`mkdir -p ${drainFolder}; touch ${drainFolder}/b1`)
  state.ci.builders = await listTask(on()).apply(machines.ci.host, run)
}

async function setUpCache(): Promise<void> {
  state.ci['builder-key'] = await keyTask().apply(machines.ci.host, run)
  state.b1['builder-cache'] = await cacheTask(cached()).apply(machines.b1.host, run)
}

async function setUpHome(): Promise<void> {
  state.ci['builder-key'] = await keyTask().apply(machines.ci.host, run)
  // The account of the other tests is gone.
  state.b1.builder = {}
  state.b1.builder = await accountTask(inHome()).apply(alice(), run)
  // A later set-up was killed before it replaced the script.
  await machines.b1.sh('cd /home/alice/.config/hydra-ops; cp -p serve-store serve-store.new')
}

/** A removal that is killed, and what surrounds the removal. */
interface Removal {
  readonly machine: RootNamespace
  /** Login of the removal; root by default. */
  readonly host?: Host
  readonly setUp: () => Promise<void>
  readonly task: () => WantedTask
  /** Describes everything that the removal has not removed yet. A look at the machine must see each of these parts. */
  readonly left: () => Promise<string>
  /** Folder of the parts, on the machine; the removal ends with the folder, which a look need not see. */
  readonly folder: string
  /** Fails if the machine lacks something that it must have at each time. */
  readonly holds?: () => Promise<void>
}

/** Kills the removal at each of its steps in turn; a second removal must complete each. Returns the number of kills. */
async function killedAtEachStep({ machine, task, left, folder, ...removal }: Removal): Promise<number> {
  const { host = machine.host } = removal
  for (let step = 0; ; step += 1) {
    await removal.setUp()
    const removing = task()
    const dying = Object.assign(Object.create(host), bound(new CrashingHost(host, step)))
    const killed = await removing.apply(dying, run).then(
      () => false,
      () => true,
    )
    await removal.holds?.()
    if (killed) {
      const still = await left()
      if (step === 0) expect(still).not.toBe('')
      if (still !== '') expect(await removing.probe(host, run), still).not.toBe('done')
      await removing.apply(host, run)
    }
    expect(await left()).toBe('')
    expect(await machine.sh(`ls -d ${folder} 2> /dev/null; true`)).toBe('')
    expect(await removing.probe(host, run)).toBe('done')
    if (!killed) return step
  }
}

function bound(host: CrashingHost): Pick<Host, 'exec' | 'script'> {
  return { exec: host.exec.bind(host), script: host.script.bind(host) }
}

it('the removal of the list of builders is completed after a kill at each step', async () => {
  const kills = await killedAtEachStep({
    machine: machines.ci,
    setUp,
    task: () => listTask(off),
    left: () =>
      machines.ci.sh(
        `ls -d /etc/hydra/builders /etc/hydra/builders-key ${sshSettingsFile} ${drainFolder} 2> /dev/null; true`,
      ),
    folder: '/etc/hydra/builders-key',
  })
  expect(kills).toBeGreaterThanOrEqual(3)
})

it('the removal of the account for builds is completed after a kill at each step', async () => {
  const kills = await killedAtEachStep({
    machine: machines.b1,
    setUp,
    task: () => accountTask(off),
    left: () => leftOfAccount('nix-builder'),
    folder: '/var/lib/hydra-ops-builder',
  })
  expect(kills).toBeGreaterThanOrEqual(3)
})

it('the removal of the cache is completed after a kill at each step, and the daemon builds meanwhile', {
  timeout: crashesMs,
}, async () => {
  const key = () => machines.b1.sh('cat /etc/nix/hydra-ops-cache-key/secret')
  await setUpCache()
  const kept = await key()
  const kills = await killedAtEachStep({
    machine: machines.b1,
    setUp: setUpCache,
    task: () => cacheTask(off),
    left: async () =>
      [
        await leftOfAccount('nix-cache'),
        await machines.b1.sh(`ls -d /etc/nix/hydra-ops-signing.conf /etc/nix/hydra-ops-cache-key/signed \
/nix/var/nix/gcroots/hydra-ops-builder-cache /run/hydra-ops/nix-daemon-restart 2> /dev/null; true`),
        (await signaturesOfBuild(machines.b1)).includes('lab-b1-builder-1:') ? 'the daemon signs' : '',
      ]
        .filter((each) => each !== '')
        .join('\n'),
    folder: '/var/lib/hydra-ops-builder',
    holds: async () => {
      await signaturesOfBuild(machines.b1)
      expect(await key()).toBe(kept)
    },
  })
  expect(kills).toBeGreaterThanOrEqual(8)
})

it('the removal of a cache from its user is completed after a kill at each step, and the daemon builds meanwhile', {
  timeout: crashesMs,
}, async () => {
  await setUp()
  await setUpCache()
  const kills = await killedAtEachStep({
    machine: machines.ci,
    setUp: async () => {
      state.ci['builder-caches'] = await cachesTask(cached()).apply(machines.ci.host, run)
    },
    task: () => cachesTask(off),
    left: () =>
      machines.ci.sh(
        `ls -d ${cachesFile} ${cachesSshFile} /run/hydra-ops/nix-daemon-restart 2> /dev/null; true`,
      ),
    folder: cachesFile,
    holds: async () => {
      await signaturesOfBuild(machines.ci)
    },
  })
  expect(kills).toBeGreaterThanOrEqual(5)
})

it('the removal from a home is completed after a kill at each step, and leaves the keys of its user', async () => {
  const kills = await killedAtEachStep({
    machine: machines.b1,
    host: alice(),
    setUp: setUpHome,
    task: () => accountTask(off),
    left: () =>
      machines.b1.sh(
        'cd /home/alice; ls .config/hydra-ops/serve-store 2> /dev/null; grep hydra-ops .ssh/authorized_keys; true',
      ),
    folder: '/home/alice/.config/hydra-ops',
    holds: async () => {
      expect(await machines.b1.sh('grep -v hydra-ops /home/alice/.ssh/authorized_keys')).toBe(ownKey)
    },
  })
  expect(kills).toBeGreaterThanOrEqual(2)
})

/** Lists the parts of a builder's account that exist: user, group, and home. */
function leftOfAccount(user: string): Promise<string> {
  return machines.b1.sh(
    'ls -d "/var/lib/hydra-ops-builder/$1" 2> /dev/null; id "$1" 2> /dev/null; getent group -- "$1"; true',
    user,
  )
}

let builds = 0

/** Builds a new path with the daemon of a machine; returns what Nix says about its signatures. */
function signaturesOfBuild(machine: RootNamespace): Promise<string> {
  builds += 1
  return machine.sh(`cd /; export NIX_REMOTE=daemon
path=$(nix-store --realise "$(nix-instantiate -E 'derivation { name = "built-${builds}"; system = builtins.currentSystem;
  builder = "/bin/sh"; args = [ "-c" "echo ${builds} > $out" ]; }' 2> /dev/null)" 2> /dev/null) || exit 1
nix --extra-experimental-features nix-command path-info --sigs "$path"`)
}
