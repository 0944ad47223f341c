import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createNix } from '../../nix/nix.js'
import { DeploymentUuid, MachineName, StorePath } from '../../src/core/names.js'
import { nixString } from '../../src/core/nix-string.js'
import { packageRoot } from '../../src/core/package-root.js'
import type { Host, RemoteOptions, SshTarget } from '../../src/core/ssh.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { renderConfig } from '../../src/ssh/config-file.js'
import { createSsh } from '../../src/ssh/create-ssh.js'
import {
  type Activation,
  type ActivationResult,
  finishActivation,
  followActivation,
  startActivation,
} from '../../src/systems/debian/activation.js'
import { fakeTarget, recordingRun } from '../fakes/fake-target.js'
import { noFlags, programPackage, ScratchNix, shellDerivation } from '../fakes/scratch-nix.js'
import { type Guest, startGuest } from '../fixtures/guest.js'

const scratch = new ScratchNix()
const nix = createNix({ local: localCommands, stateRoot: scratch.folder, env: scratch.env, providers: [] })
const name = MachineName.parse('guest')
const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const profile = '/nix/var/nix/profiles/hydra-ops'
/** Limits for an emulated guest on a busy host. */
const slow = { timeout: 120_000, interval: 300 }
const quick: RemoteOptions = {
  signal: new AbortController().signal,
  timeoutMs: 300_000,
  what: 'look at the guest',
}

const ssh = createSsh({ local: localCommands, env: {}, homeDir: scratch.folder })
const password = 'sesame'

let guest: Guest
let host: Host

beforeAll(async () => {
  guest = await startGuest({ name })
  host = await connect()
})
afterAll(async () => {
  host?.close()
  await guest?.dispose()
  scratch.dispose()
})

function targetOf(user: string): SshTarget {
  const { port, hostKey, identityFile } = guest
  return fakeTarget(name, { port, hostKey, user, identityFiles: [identityFile] })
}

async function connect(user = 'root'): Promise<Host> {
  const options = { signal: scratch.run.signal, timeoutMs: 120_000, sudoPassword: async () => password }
  return (await ssh.connect(targetOf(user), options)).host
}

/** Writes a configuration for the system's ssh. The folder's name has a space, as a state folder's name may. */
function sshConfig(target: SshTarget, folder = join(scratch.folder, 'a folder')): string {
  mkdirSync(folder, { recursive: true })
  const knownHosts = join(folder, 'known_hosts')
  const rendered = renderConfig([target], { knownHosts }, { env: {}, homeDir: folder })
  writeFileSync(join(folder, 'ssh_config'), rendered.config)
  writeFileSync(knownHosts, rendered.knownHosts)
  return join(folder, 'ssh_config')
}

/** Runs a script on the guest and returns its output; a failing script is an error. */
async function sh(text: string, ...args: string[]): Promise<string> {
  const result = await host.script(text, args, quick)
  expect(result, `${text}\n${result.stderr}`).toMatchObject({ kind: 'exited', code: 0 })
  return result.stdout.trimEnd()
}

async function until(text: string, wanted: string | RegExp, ...args: string[]): Promise<void> {
  await vi.waitFor(async () => expect(await sh(`${text} || true`, ...args)).toMatch(wanted), slow)
}

async function build(wanted: string): Promise<StorePath> {
  const file = join(packageRoot(), 'nix/debian-profile.nix')
  const expression = `import ${file} { name = "guest"; ${wanted} }`
  const drv = StorePath.parse(await scratch.instantiate(expression))
  const result = (await nix.build(new Map([[name, drv]]), noFlags, scratch.run)).get(name)
  if (result === undefined || 'error' in result) throw result?.error ?? new Error('nothing was built')
  return result.out
}

async function copy(path: StorePath): Promise<void> {
  await nix.copy(host, path, { sshConfig: sshConfig(targetOf('root')), substitute: false }, scratch.run)
}

let runs = 0

async function begin(path: StorePath): Promise<Activation> {
  runs += 1
  const bootId = await sh('cat /proc/sys/kernel/random/boot_id')
  const unit = `hydra-ops-test-${runs}.service`
  const activation = { unit, log: `/var/log/hydra-ops/test-${runs}.log`, path, bootId }
  await startActivation(host, { ...activation, owner, always: false }, scratch.run)
  return activation
}

async function reconnect(): Promise<Host> {
  host.close()
  host = await connect()
  return host
}

function follow(activation: Activation, run = scratch.run): Promise<ActivationResult> {
  return followActivation({ host, reconnect }, activation, run)
}

async function deploy(
  wanted: string,
): Promise<{ path: StorePath; result: ActivationResult; lines: readonly string[] }> {
  const path = await build(wanted)
  await copy(path)
  const activation = await begin(path)
  const run = recordingRun()
  const result = await follow(activation, run)
  await finishActivation(host, activation.unit, run)
  return { path, result, lines: run.lines }
}

const greeting = programPackage('greet', '#!/bin/sh\necho greetings\n')
const counter = (version: string) =>
  programPackage('counter', `#!/bin/sh\necho version ${version} runs\nexec sleep infinity\n`)
const unit = (file: string, ...lines: string[]) =>
  `units."${file}".text = ${nixString(`${lines.join('\n')}\n`)};`
const service = (file: string, ...lines: string[]) => unit(file, '[Service]', ...lines)

const base = (version: string) => `
  packages = [ ${greeting} ];
  files."/etc/app/ä file".text = "version ${version}\\n";
  hosts = [ { address = "10.99.0.7"; names = [ "db" "db.lan" ]; } ];
  units."counter.service".text = "[Service]\\nExecStart=\${${counter(version)}}/bin/counter\\n";
  ${service('once.service', 'Type=oneshot', `ExecStart=/bin/echo ${version}`)}
  ${unit('tick.timer', '[Timer]', 'OnCalendar=daily', 'Unit=once.service')}`

/** Returns an activation program that runs for some seconds, prints its steps and leaves a mark. */
const slowly = (seconds: number, mark: string) =>
  programPackage(
    'activate',
    `#!/bin/sh\nfor i in $(seq ${seconds}); do echo "step $i"; sleep 1; done\necho ${mark} >>/var/lib/marks\n`,
  )

describe('a closure on a machine', () => {
  it('arrives, is activated, and puts its programs on the PATH of ssh, login shells, sudo and units', async () => {
    const wanted = await build(base('1'))
    const { paths } = await nix.closure(wanted, scratch.run)
    expect(await nix.missingOn(host, paths, scratch.run)).toEqual([...paths])
    const { path, result, lines } = await deploy(base('1'))
    expect(path).toBe(wanted)
    expect(result).toEqual({ kind: 'ok' })
    expect(await nix.missingOn(host, paths, scratch.run)).toEqual([])
    expect(lines).toContain('unit counter.service started')
    expect(await sh(`readlink -f ${profile}`)).toBe(path)
    expect(await sh('cat "/etc/app/ä file"; getent hosts db.lan')).toMatch(/^version 1\n10\.99\.0\.7\s/)
    const said = await sh('greet; sh -lc greet; sudo greet; systemd-run -q --wait --pipe greet')
    expect(said.split('\n')).toEqual(Array(4).fill('greetings'))
    expect(await sh('systemctl is-enabled counter.service once.service tick.timer')).toBe(
      'enabled\nenabled\nenabled',
    )
    expect(await sh('journalctl -q -o cat -u counter.service')).toContain('version 1 runs')
  })

  it('is replaced: changed units restart, unchanged units go on', async () => {
    const invocation = (file: string) => sh('systemctl show -p InvocationID --value -- "$1"', file)
    const before = [await invocation('counter.service'), await invocation('tick.timer')]
    const { result, lines } = await deploy(base('2'))
    expect(result).toEqual({ kind: 'ok' })
    expect([...lines].sort()).toEqual([
      'file /etc/app/ä file written',
      'result 0',
      'unit counter.service restarted',
      'unit once.service started and done',
    ])
    expect(await invocation('counter.service')).not.toBe(before[0])
    expect(await invocation('tick.timer')).toBe(before[1])
  })

  it('survives a garbage collection on both sides, also between copy and activation', async () => {
    const path = await build(base('3'))
    await nix.root(join(scratch.folder, 'gcroots'), 'guest', path, scratch.run)
    await scratch.nix('nix-store', ['--gc'])
    await copy(path)
    await sh('nix-store --gc 2>/dev/null')
    const activation = await begin(path)
    expect(await follow(activation)).toEqual({ kind: 'ok' })
    await finishActivation(host, activation.unit, scratch.run)
    expect(await sh('nix-store --gc >/dev/null 2>&1; ls /nix/var/nix/gcroots/hydra-ops')).toBe('')
    await sh('systemctl restart counter.service')
    await until('journalctl -q -o cat -n 3 -u counter.service', 'version 3 runs')
    expect(await sh('greet')).toBe('greetings')
  })
})

describe('a failing unit', () => {
  it('is named with its journal, unless the unit had failed before', async () => {
    await sh('systemd-run -q --unit=failed-before.service false')
    await until('systemctl is-failed failed-before.service', 'failed')
    const old = await sh(`readlink -f ${profile}`)
    const { path, result, lines } = await deploy(`${base('3')}
      ${service('says-why.service', 'ExecStart=/bin/sh -c "echo the database is gone; exit 7"')}
      ${service('no-such.service', 'ExecStart=/no/such/program')}
      ${unit('again.service', '[Unit]', 'StartLimitIntervalSec=0', '[Service]', 'ExecStart=/bin/false', 'Restart=always', 'RestartSec=1')}
      ${unit('needs.service', '[Unit]', 'Requires=nowhere.service', '[Service]', 'ExecStart=/bin/sleep infinity')}
      ${unit('skipped.service', '[Unit]', 'ConditionPathExists=/nowhere', '[Service]', 'ExecStart=/bin/sleep infinity')}`)
    expect(result).toMatchObject({
      kind: 'failed',
      code: 4,
      units: ['again.service', 'needs.service', 'no-such.service', 'says-why.service'],
    })
    expect(result.kind === 'failed' && result.journal.join('\n')).toMatch(/the database is gone/)
    expect(lines).toContain('unit skipped.service started, but a condition of it is not met')
    expect(await sh(`readlink -f ${profile}`)).toBe(old)
    // The garbage collection keeps a partly activated closure, because its units are on the machine.
    await sh('nix-store --gc >/dev/null 2>&1; test -e "$1/bin/greet"', path)
  })

  it('leaves no trace when it is dropped', async () => {
    expect((await deploy(base('3'))).result).toEqual({ kind: 'ok' })
    expect(await sh('systemctl list-units --failed --no-legend --plain')).toMatch(
      /^failed-before\.service[^\n]*$/,
    )
    await sh('systemctl reset-failed failed-before.service')
  })

  it('does not count as failed while it waits for a key that is yet to come', async () => {
    const key = ['[Service]', 'Type=exec', 'TimeoutStartSec=infinity', 'ExecStart=/bin/sleep infinity']
    const wait = `ExecStartPre=/bin/sh -c 'until [ -e /run/late ]; do sleep 0.2; done'`
    await sh(
      'printf "%s\\n" "$@" >/etc/systemd/system/late-key.service; systemctl daemon-reload',
      ...key,
      wait,
    )
    const { result, lines } = await deploy(`${base('3')}
      ${unit('waits.service', '[Unit]', 'Requires=late-key.service', 'After=late-key.service', '[Service]', 'ExecStart=/bin/sleep infinity')}`)
    expect(result).toEqual({ kind: 'ok' })
    expect(lines).toContain('unit waits.service waits for late-key.service')
    await sh('touch /run/late')
    await until('systemctl is-active waits.service', /^active/)
  })
})

describe('an activation', () => {
  it('outlives the connection, and its true result is reported', async () => {
    const path = await build(`${base('4')} activate = ${slowly(8, 'after-the-drop')};`)
    await copy(path)
    const activation = await begin(path)
    const run = recordingRun()
    const following = follow(activation, run)
    await vi.waitFor(() => expect(run.lines).toContain('step 2'), slow)
    host.close()
    expect(await following).toEqual({ kind: 'ok' })
    const steps = run.lines.filter((line) => line.startsWith('step'))
    expect(steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((n) => `step ${n}`))
    expect(await sh('cat /var/lib/marks')).toBe('after-the-drop')
    await finishActivation(host, activation.unit, run)
  })

  it('outlives the machine’s sshd, killed with all its sessions', async () => {
    const path = await build(`${base('4')} activate = ${slowly(8, 'after-the-kill')};`)
    await copy(path)
    const activation = await begin(path)
    const run = recordingRun()
    const following = follow(activation, run)
    await vi.waitFor(() => expect(run.lines).toContain('step 2'), slow)
    const other = await connect()
    const kill = "systemctl kill -s KILL ssh.service 'session-*.scope'; systemctl restart ssh.service"
    await other.exec(['systemd-run', '-q', 'sh', '-c', kill], quick)
    expect(await following).toEqual({ kind: 'ok' })
    expect(await sh('tail -n 1 /var/lib/marks')).toBe('after-the-kill')
    await finishActivation(host, activation.unit, run)
  })

  it('outlives systemd’s own re-execution, and a failure stays a failure', async () => {
    const program = '#!/bin/sh\nsystemctl daemon-reexec\nsleep 2\necho after\nexit 5\n'
    const path = await build(`${base('5')} activate = ${programPackage('activate', program)};`)
    await copy(path)
    const activation = await begin(path)
    const result = await follow(activation)
    expect(result).toMatchObject({ kind: 'failed', code: 2, units: [] })
    expect(result.kind === 'failed' && result.log).toContain('after')
    await finishActivation(host, activation.unit, scratch.run)
  })

  it('outlives its operator: another process finds its true result, also when the unit is gone', async () => {
    const path = await build(`${base('6')} ${service('bad.service', 'ExecStart=/bin/false')}`)
    await copy(path)
    const activation = await begin(path)
    await reconnect()
    await until('cat "$1"', '\nresult 4 bad.service', activation.log)
    const expected = { kind: 'failed', code: 4, units: ['bad.service'] }
    expect(await follow(activation)).toMatchObject(expected)
    await finishActivation(host, activation.unit, scratch.run)
    expect(await sh('systemctl show -p LoadState --value -- "$1"', activation.unit)).toBe('not-found')
    expect(await follow(activation)).toMatchObject(expected)
  })
})

describe('a power cut', () => {
  async function cutAndStart(): Promise<void> {
    host.close()
    await guest.powerCut()
    await guest.boot()
    host = await connect()
  }
  const verify = (path: StorePath) =>
    sh('nix-store --query --requisites "$1" | xargs nix-store --verify-path', path)
  const repair = (path: StorePath) =>
    nix.repair(host, path, { sshConfig: sshConfig(targetOf('root')) }, scratch.run)

  it('is reported when it strikes during an activation, and the next activation converges', async () => {
    const path = await build(`${base('7')} activate = ${slowly(600, 'never')};`)
    await copy(path)
    const activation = await begin(path)
    await until('cat "$1"', 'step 1', activation.log)
    await cutAndStart()
    expect(await follow(activation)).toEqual({ kind: 'unknown', why: 'the machine was restarted meanwhile' })
    expect((await deploy(base('7'))).result).toEqual({ kind: 'ok' })
    expect(await sh('cat "/etc/app/ä file"; systemctl is-active counter.service')).toBe('version 7\nactive')
  })

  it('leaves only damage that a repair fixes when it strikes right after a copy', async () => {
    await sh('grep -rlZ sync-before-registering /etc/nix | xargs -0r sed -i /sync-before-registering/d')
    const many = shellDerivation(
      'many-files',
      'mkdir $out; for i in $(seq 200); do seq $i 2000 > $out/$i; done',
    )
    const path = await build(`${base('8')} files."/etc/many".text = "\${${many}}";`)
    const { paths } = await nix.closure(path, scratch.run)
    // Nix itself copies here, without the sync that ends hydra-ops's copies.
    const config = sshConfig(targetOf('root'), join(scratch.folder, 'spaceless'))
    const copied = await scratch.command.run('nix-copy-closure', ['--to', name, path], {
      signal: scratch.run.signal,
      timeoutMs: 300_000,
      what: 'copy',
      extraEnv: { NIX_SSHOPTS: `-F ${config}` },
    })
    expect(copied).toMatchObject({ kind: 'exited', code: 0 })
    await cutAndStart()
    const missing = await nix.missingOn(host, paths, scratch.run)
    const mended = await repair(path)
    // Some paths are missing or were repaired; otherwise the power cut had no effect.
    expect(missing.length + mended.length).toBeGreaterThan(0)
    await copy(path)
    await verify(path)
    expect(await repair(path)).toEqual([])
  })

  it('may empty files of a path that Nix calls valid, and exactly that path is mended', async () => {
    const path = StorePath.parse(await sh(`readlink -f ${profile}`))
    const { paths } = await nix.closure(path, scratch.run)
    const [empty, gone] = paths.filter((each) => /-(?:greet|counter)$/.test(each))
    if (empty === undefined || gone === undefined) throw new Error('the closure has other names now')
    await sh('find "$1" -type f -exec truncate -s 0 {} +; rm -r "$2"', empty, gone)
    expect((await repair(path)).sort()).toEqual([empty, gone].sort())
    await verify(path)
    expect(await sh('greet')).toBe('greetings')
  })
})

describe('a copy as another user', () => {
  beforeAll(async () => {
    await guest.addUser('able', 'nopasswd')
    await guest.addUser('asked', { password })
  })

  it.each([
    ['able', 'nix-copy-closure through sudo'],
    ['asked', 'streamed, because sudo asks for a password'],
  ])('%s: %s', async (user, way) => {
    const other = await connect(user)
    const path = await build(`${base(user)} files."/etc/for".text = "${user}";`)
    const { paths } = await nix.closure(path, scratch.run)
    await nix.copy(other, path, { sshConfig: sshConfig(targetOf(user)), substitute: false }, scratch.run)
    expect(nix.copyMethod(other)).toBe(way)
    expect(await nix.missingOn(other, paths, scratch.run)).toEqual([])
    await sh('nix-store --query --requisites "$1" | xargs nix-store --verify-path', path)
    other.close()
  })
})

it('a deployment leaves nothing behind when everything is dropped', async () => {
  const traces = () =>
    sh(`ls -A /usr/local/bin
ls -d /etc/app 2>/dev/null
grep hydra-ops /etc/hosts
systemctl list-unit-files --no-legend --plain "counter*" "once*" "tick*" "waits*" "bad*" | cut -d" " -f1
true`)
  expect((await deploy(base('last'))).result).toEqual({ kind: 'ok' })
  expect(await traces()).toMatch(/greet\n\/etc\/app\n# hydra-ops: begin[\s\S]*counter\.service/)
  expect((await deploy('')).result).toEqual({ kind: 'ok' })
  expect(await traces()).toBe('')
})
