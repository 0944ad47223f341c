import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TaskMachine } from '../../../src/core/setup-task.js'
import { bindTask } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { builderCacheTask } from '../../../src/setup/builders/cache-task.js'
import { builderCachesTask } from '../../../src/setup/builders/caches-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { holds } from '../../e2e/audit.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { withScript } from '../../fixtures/with-script.js'
import { taskContract } from '../task-contract.js'
import { b1, ci, includeFurtherSettings, restartDaemon, TwoMachines } from './two-machines.js'

const run = taskRun()
let machines: TwoMachines

type Outputs = Record<string, Record<string, string>>
const state = { ci: {} as Outputs, b1: {} as Outputs }

beforeAll(async () => {
  machines = await TwoMachines.start()
  for (const machine of [machines.ci, machines.b1]) await includeFurtherSettings(machine)
  state.ci['builder-key'] = await wantedOf(bindTask(builderKeyTask), onCi()).apply(host('ci'), run)
  state.b1.builder = await wantedOf(bindTask(builderTask), onB1()).apply(host('b1'), run)
}, 120_000)
afterAll(async () => machines?.dispose())

/** Returns a machine whose Nix reads only the settings in the machine's own files. */
function host(name: 'ci' | 'b1'): Host {
  const machine = machines[name].host
  return withScript(machine as unknown as Host, (text, args, options) =>
    machine.script(`unset NIX_CONFIG\n${text}`, args, options),
  )
}

const sh = (name: 'ci' | 'b1', text: string) => machines[name].sh(`unset NIX_CONFIG\n${text}`)

const builder = (cache: Record<string, unknown> = { enable: true }) => ({
  enable: true,
  for: ['ci'],
  hostName: '127.0.0.1',
  port: machines.port,
  cache,
})

function onCi(options?: Record<string, unknown>): TaskMachine {
  const definition = { ...debianMachine({}), name: ci }
  const offered = { ...debianMachine({ builder: options ?? builder() }), name: b1 }
  const other = peer({ hostKey: machines.hostKey, outputs: state.b1, definition: offered })
  return subject(definition, state.ci, new Map([[b1, other]]))
}

function onB1(options?: Record<string, unknown>): TaskMachine {
  const definition = { ...debianMachine({ builder: options ?? builder() }), name: b1 }
  return subject(definition, state.b1, new Map([[ci, peer({ outputs: state.ci })]]))
}

const cacheTask = (options?: Record<string, unknown>) => wantedOf(bindTask(builderCacheTask), onB1(options))
const cachesTask = (options?: Record<string, unknown>) => wantedOf(bindTask(builderCachesTask), onCi(options))

/** Runs the tasks as a deploy of both machines would. */
async function deploy(): Promise<void> {
  state.b1['builder-cache'] = await cacheTask().apply(host('b1'), run)
  state.ci['builder-caches'] = await cachesTask().apply(host('ci'), run)
}

let names = 0

/** Builds a new path on one of the machines; returns the path. */
async function build(on: 'ci' | 'b1', more = ''): Promise<string> {
  names += 1
  return sh(
    on,
    `cd /; export NIX_REMOTE=daemon
nix-store --realise "$(nix-instantiate -E 'derivation { name = "path-${names}"; system = builtins.currentSystem;
  builder = "/bin/sh"; args = [ "-c" "echo ${names} > $out" ]; }' 2> /dev/null)" ${more} 2> /var/tmp/said-${names}`,
  )
}

const signatures = (path: string) =>
  sh('b1', `nix --extra-experimental-features nix-command path-info --sigs ${path}`)
const fetch = (path: string) =>
  sh('ci', `cd /; NIX_REMOTE=daemon nix-store --realise ${path} --max-jobs 0 2>&1`)
const forget = 'cd /; rm -f /nix/var/nix/gcroots/hydra-ops-builder-cache'

describe('the cache of a builder', () => {
  taskContract(() => ({
    host: host('b1'),
    task: cacheTask(),
    verifiable: true,
    placesFiles: true,
    crashEvery: 4,
    reset: `userdel nix-cache 2> /dev/null; rm -rf /var/lib/hydra-ops-builder/nix-cache /etc/nix/hydra-ops-cache-key
rm -f /etc/nix/hydra-ops-signing.conf; ${forget}; systemctl try-restart nix-daemon.service`,
    damages: {
      'key of somebody else':
        'echo ssh-ed25519 AAAA >> /var/lib/hydra-ops-builder/nix-cache/.ssh/authorized_keys',
      'settings that are gone': 'rm /etc/nix/hydra-ops-signing.conf',
      'daemon with earlier settings': 'mkdir -p /run/hydra-ops; : > /run/hydra-ops/nix-daemon-restart',
      'secret key that others may read': 'chmod 0644 /etc/nix/hydra-ops-cache-key/secret',
      'path for proofs that is gone': `${forget}`,
      'store that nobody signed': 'rm /etc/nix/hydra-ops-cache-key/signed',
    },
  }))

  it('signs the paths that were there before, once, and later builds as they end', async () => {
    await sh('b1', 'rm -f /etc/nix/hydra-ops-signing.conf /etc/nix/hydra-ops-cache-key/signed')
    await restartDaemon(machines.b1)
    const before = await build('b1')
    expect(await signatures(before)).not.toContain('lab-b1-builder-1:')
    await deploy()
    expect(await signatures(before)).toContain(' lab-b1-builder-1:')
    expect(await signatures(await build('b1'))).toContain(' lab-b1-builder-1:')
    const added = await sh('b1', 'cd /; echo added > /var/tmp/added; nix-store --add /var/tmp/added')
    await deploy()
    expect(await signatures(added)).not.toContain('lab-b1-builder-1:')
  })

  it('keeps its key, and refuses a file that is none', async () => {
    const kept = await sh('b1', 'cat /etc/nix/hydra-ops-cache-key/secret')
    await deploy()
    expect(await sh('b1', 'cat /etc/nix/hydra-ops-cache-key/secret')).toBe(kept)
    await sh('b1', 'cd /etc/nix/hydra-ops-cache-key; mv secret kept; echo mine > secret')
    await expect(deploy()).rejects.toThrow('is not a Nix signing key; it was not touched')
    await expect(
      cacheTask({ ...builder({ enable: true, keyName: 'other-1' }) }).apply(host('b1'), run),
    ).rejects.toThrow('is not a Nix signing key; it was not touched')
    await sh('b1', 'cd /etc/nix/hydra-ops-cache-key; mv kept secret')
    await expect(
      cacheTask(builder({ enable: true, keyName: 'other-1' })).apply(host('b1'), run),
    ).rejects.toThrow('holds the key lab-b1-builder-1, not other-1; it was not touched')
  })

  it('lets its secret key into no script, no answer and no line of the log', async () => {
    const seen: string[] = []
    const recording = withScript(host('b1'), async (text, args, options) => {
      const ended = await host('b1').script(text, args, options)
      seen.push(text, String(options.stdin ?? ''), ended.stdout, ended.stderr)
      return ended
    })
    const told = taskRun()
    const outputs = await cacheTask().apply(recording, told)
    await cacheTask().verify(recording, told)
    const [name = '', secret = ''] = (await sh('b1', 'cat /etc/nix/hydra-ops-cache-key/secret')).split(':')
    expect(secret.length).toBeGreaterThan(80)
    const texts = [...seen, ...told.lines, JSON.stringify(outputs)]
    expect(texts.some((text) => text.includes(name))).toBe(true)
    // The last half of a secret key is the public key.
    const half = Buffer.from(secret, 'base64').subarray(0, 30).toString('base64')
    expect(texts.filter((text) => holds(text, half))).toEqual([])
  })

  it('proves nothing with a path that the machine has and cannot delete, and says so', async () => {
    const { sample } = state.b1['builder-cache'] ?? {}
    await fetch(sample ?? '')
    await sh('ci', `ln -s ${sample} /nix/var/nix/gcroots/kept-sample`)
    try {
      await expect(cachesTask().verify(host('ci'), run)).rejects.toMatchObject({
        code: 'BUILDER_CACHE',
        message: expect.stringMatching(
          /-hydra-ops-builder-cache is already in the store, so nothing would be fetched$/,
        ),
        detail: expect.stringContaining('still alive'),
      })
    } finally {
      await sh('ci', 'rm /nix/var/nix/gcroots/kept-sample')
    }
    await cachesTask().verify(host('ci'), run)
  })

  it('names the next step for every other failure, such as a path that left the builder', async () => {
    const known = state.b1['builder-cache'] ?? {}
    state.b1['builder-cache'] = { ...known, sample: `/nix/store/${'0'.repeat(32)}-gone` }
    await expect(cachesTask().verify(host('ci'), run)).rejects.toMatchObject({
      code: 'BUILDER_CACHE',
      message: expect.stringMatching(/cannot fetch from builder 'b1': .*0-gone/),
      hint: expect.stringContaining('run hydra-ops setup verify --on b1'),
    })
    state.b1['builder-cache'] = known
  })

  it('reports a Nix that does not read the settings', async () => {
    await deploy()
    await sh('b1', 'sed -i /signing/d /etc/nix/nix.conf')
    await restartDaemon(machines.b1)
    const drop = `${forget}; NIX_REMOTE=daemon nix-store --delete ${state.b1['builder-cache']?.sample}`
    await sh('b1', drop)
    await expect(cacheTask().verify(host('b1'), run)).rejects.toMatchObject({
      detail: expect.stringContaining('has no signature by lab-b1-builder-1'),
      hint: expect.stringContaining('/etc/nix/hydra-ops-signing.conf'),
    })
    await sh('b1', 'echo "!include hydra-ops-signing.conf" >> /etc/nix/nix.conf')
    await sh('b1', drop)
    await restartDaemon(machines.b1)
    await cacheTask().verify(host('b1'), run)
  })
})

describe('the caches of a machine', () => {
  beforeAll(deploy)

  taskContract(() => ({
    host: host('ci'),
    task: cachesTask(),
    verifiable: true,
    placesFiles: true,
    crashEvery: 2,
    reset: `rm -f /etc/nix/hydra-ops-caches.conf /etc/ssh/ssh_config.d/hydra-ops-builder-caches.conf
systemctl try-restart nix-daemon.service`,
    damages: {
      'key of another': 'sed -i "s/lab-b1-builder-1/other-1/" /etc/nix/hydra-ops-caches.conf',
      'other port': 'sed -i "s/Port .*/Port 22/" /etc/ssh/ssh_config.d/hydra-ops-builder-caches.conf',
      'daemon with earlier settings': 'mkdir -p /run/hydra-ops; : > /run/hydra-ops/nix-daemon-restart',
    },
  }))

  it('lets the daemon fetch what the builder built, and says so', async () => {
    const path = await build('b1')
    expect(await fetch(path)).toContain(`copying path '${path}' from 'ssh-ng://nix-cache@127.0.0.1'`)
    const told = taskRun()
    await cachesTask().verify(host('ci'), told)
    expect(told.lines).toEqual([
      expect.stringMatching(
        /^fetched \/nix\/store\/\S+-hydra-ops-builder-cache from builder 'b1', signed by lab-b1/,
      ),
    ])
  })

  it('refuses a path that the builder did not sign', async () => {
    await sh('b1', 'sed -i "s/^extra-secret/# &/" /etc/nix/hydra-ops-signing.conf')
    await restartDaemon(machines.b1)
    const path = await build('b1')
    await expect(fetch(path)).rejects.toThrow('is not signed by any of the keys')
    await cacheTask().apply(host('b1'), run)
  })

  it('reports a signature by a key other than the known one', async () => {
    const known = state.b1['builder-cache']
    state.b1['builder-cache'] = { ...known, publicKey: `lab-b1-builder-1:${'A'.repeat(43)}=` }
    await cachesTask().apply(host('ci'), run)
    await expect(cachesTask().verify(host('ci'), run)).rejects.toMatchObject({
      code: 'BUILDER_CACHE',
      message: expect.stringMatching(
        /cannot fetch from builder 'b1': the signature was not made with the key lab-b1-builder-1$/,
      ),
    })
    state.b1['builder-cache'] = known ?? {}
    await cachesTask().apply(host('ci'), run)
    await cachesTask().verify(host('ci'), run)
  })

  it('reports a Nix that does not read the settings', async () => {
    await sh('ci', 'sed -i /caches/d /etc/nix/nix.conf')
    await expect(cachesTask().verify(host('ci'), run)).rejects.toMatchObject({
      code: 'BUILDER_CACHE',
      message: expect.stringContaining('its Nix does not read /etc/nix/hydra-ops-caches.conf'),
      hint: expect.stringContaining(
        'hydra-ops setup run nix --redo; a NixOS machine gets the line by a deploy',
      ),
    })
    await sh('ci', 'echo "!include hydra-ops-caches.conf" >> /etc/nix/nix.conf')
  })

  it('hinders no build while the builder is down, and says why the proof fails', async () => {
    await machines.stopSshd()
    try {
      await expect(build('ci')).resolves.toMatch(/^\/nix\/store\//)
      await expect(cachesTask().verify(host('ci'), run)).rejects.toMatchObject({
        code: 'BUILDER_LOGIN',
        message: expect.stringContaining('no ssh server answers at 127.0.0.1'),
      })
    } finally {
      await machines.startSshd()
    }
  })

  it.each<[string, string, string, RegExp]>([
    [
      'key that the builder does not know',
      'mv /var/lib/hydra-ops-builder/nix-cache/.ssh/authorized_keys /etc/ssh/moved-keys',
      'mv /etc/ssh/moved-keys /var/lib/hydra-ops-builder/nix-cache/.ssh/authorized_keys',
      /'b1' does not accept the key for user 'nix-cache'/,
    ],
    [
      'shell that lets nobody in',
      'usermod --shell /usr/sbin/nologin nix-cache',
      'usermod --shell /bin/sh nix-cache',
      /the login shell prints "This account is currently not available\./,
    ],
    [
      'account without the group of the daemon',
      'gpasswd -d nix-cache nix-users > /dev/null',
      'gpasswd -a nix-cache nix-users > /dev/null',
      /user 'nix-cache' may not use the Nix daemon/,
    ],
  ])('reports a %s', async (_, damage, mend, message) => {
    await sh('b1', damage)
    try {
      await expect(cachesTask().verify(host('ci'), run)).rejects.toMatchObject({
        code: 'BUILDER_LOGIN',
        message: expect.stringMatching(message),
      })
    } finally {
      await sh('b1', mend)
    }
  })

  it('leads to a login that the daemon of the builder distrusts, and to no shell', async () => {
    const ssh = `ssh -i /etc/nix/hydra-ops-builders/key -o BatchMode=yes -o StrictHostKeyChecking=no \
-o UserKnownHostsFile=/dev/null nix-cache@127.0.0.1`
    expect(await sh('ci', `${ssh} 'echo I am in; id' < /dev/null 2> /dev/null; true`)).not.toContain(
      'I am in',
    )
    const unsigned = await sh('ci', 'cd /; echo mine > /var/tmp/mine; nix-store --add /var/tmp/mine')
    await sh(
      'ci',
      `cd /; nix --extra-experimental-features nix-command store make-content-addressed ${unsigned} || true`,
    )
    const built = await build('ci')
    const store = await sh('ci', "sed -n 's/^extra-substituters = //p' /etc/nix/hydra-ops-caches.conf")
    await expect(
      sh('ci', `cd /; nix --extra-experimental-features nix-command copy --to '${store}' ${built}`),
    ).rejects.toThrow(/lacks a (?:valid )?signature/)
  })
})

describe('a cache that left the expression', () => {
  beforeAll(deploy)

  it('is forgotten by its users first, and then goes, without its key', async () => {
    const without = builder({ enable: false })
    const forgotten = cachesTask(without)
    expect(await forgotten.probe(host('ci'), run)).toMatchObject({ drifted: expect.any(String) })
    state.ci['builder-caches'] = await forgotten.apply(host('ci'), run)
    expect(await sh('ci', 'ls /etc/nix /etc/ssh/ssh_config.d')).not.toMatch(/cache/)
    expect(await sh('ci', 'nix --extra-experimental-features nix-command show-config')).not.toContain(
      'nix-cache',
    )

    const gone = cacheTask(without)
    expect(gone.stage).toBe('withdraw')
    expect(await gone.probe(host('b1'), run)).toMatchObject({ drifted: expect.any(String) })
    const key = await sh('b1', 'cat /etc/nix/hydra-ops-cache-key/secret')
    const { publicKey } = state.b1['builder-cache'] ?? {}
    state.b1['builder-cache'] = await gone.apply(host('b1'), run)
    expect(await gone.probe(host('b1'), run)).toBe('done')
    const left = await sh('b1', 'ls /var/lib/hydra-ops-builder /etc/nix; id nix-cache 2>&1; true')
    expect(left).toContain('hydra-ops-cache-key')
    expect(left).toMatch(/no such user$/)
    expect(await sh('b1', 'ls /etc/nix /nix/var/nix/gcroots')).not.toMatch(/signing|builder-cache/)
    expect(await signatures(await build('b1'))).not.toContain('lab-b1-builder-1:')

    expect(bindTask(builderCacheTask)(onB1(without))).toBeUndefined()
    expect(bindTask(builderCachesTask)(onCi(without))).toBeUndefined()
    expect((await cacheTask().apply(host('b1'), run)).publicKey).toBe(publicKey)
    expect(await sh('b1', 'cat /etc/nix/hydra-ops-cache-key/secret')).toBe(key)
  })
})
