import { getEventListeners } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createCopier } from '../../nix/copy.js'
import { copyByStream } from '../../nix/copy-by-stream.js'
import { stopMachine } from '../../providers/libvirt/power.js'
import { messageOf, unreachable } from '../../src/core/errors.js'
import { httpStatus } from '../../src/core/http-request.js'
import { MachineName, StorePath } from '../../src/core/names.js'
import { onAbort } from '../../src/core/on-abort.js'
import { pause, pauseUnless } from '../../src/core/pause.js'
import type { DeploymentSession } from '../../src/core/session.js'
import { runChecks } from '../../src/deploy/health.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { exclusively } from '../../src/images/exclusive.js'
import { connect } from '../../src/machine/connect.js'
import { draftSession } from '../../src/machine/draft-session.js'
import { recordedMachine } from '../../src/machine/machine.js'
import { rebootMachine } from '../../src/machine/reboot.js'
import { waitUntil } from '../../src/remote/wait-until.js'
import { smtpGreeting } from '../../src/setup/smtp-greeting.js'
import { bounded, within } from '../../src/ssh/bounded.js'
import { Slots } from '../../src/ssh/slots.js'
import { followActivation } from '../../src/systems/debian/activation.js'
import { installPackages } from '../../src/systems/debian/packages.js'
import { createStoreLock } from '../../state/store-lock.js'
import { succeed } from '../fakes/fake-ssh.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { saying } from '../fakes/saying.js'
import { freePort } from '../fixtures/free-port.js'
import { makeKey } from '../fixtures/sshd.js'
import { testSsh } from '../fixtures/sshd-session.js'
import { sshTarget } from '../fixtures/sshd-target.js'
import { type Deployed, deployed } from '../operations/deployed.js'
import { guest, hypervisor } from '../providers/libvirt/deaf-guest.js'

const times = 20

let folder: string
/** A port without a listener. */
let closedPort: number
/** The port of a server that accepts each connection and closes it at once. */
let closingPort: number
const closing = createServer((socket) => socket.destroy())
const warnings: Error[] = []
const remember = (warning: Error) => void warnings.push(warning)
let ended: AbortController
let world: Deployed
let session: DeploymentSession

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-waits-'))
  closedPort = await freePort()
  closingPort = await freePort()
  await new Promise<void>((resolve) => closing.listen(closingPort, '127.0.0.1', resolve))
  process.on('warning', remember)
  world = await deployed()
  session = await world.ops.store.lock((await world.ops.store.resolve(undefined)).uuid, async (held) =>
    draftSession(held),
  )
  world.ops.ssh.answer('reboot', succeed())
})
afterAll(() => {
  process.off('warning', remember)
  closing.close()
  world.ops.cleanup()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  ended = new AbortController()
  warnings.length = 0
  let looks = 0
  world.ops.ssh.answer('read the boot id', () => {
    looks += 1
    return succeed(looks > times ? 'boot-2\n' : 'boot-1\n')
  })
})
afterEach(() => ended.abort())

const forEver = () => new Promise<never>(() => {})
const ssh = testSsh()
const reach = (port: number) => sshTarget({ host: '127.0.0.1', port, hostKey })
const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpIxCj68bvynz61R5Osa+XN8/tQGT4mU4Ht7SFll91H'
const run = () => ({ signal: ended.signal, log: () => {} })
const plainCommand = () => ({ signal: ended.signal, timeoutMs: 30_000, what: 'try something' })
const dial = async (port: number) => connectTcp(port, '127.0.0.1')
const noChecks = { cmd: [], http: [], tcp: [], systemd: [] }
// An attempt needs enough time for a refusal, even on a busy host.
const check = { period: 0.05, timeout: 2, total: 2 }
const operator = { user: 'me', host: 'here', pid: process.pid, command: 'deploy', run: 'a-run' }

const value = (of: unknown) => ({ status: 'fulfilled', value: of })
const refused = (code: string | undefined, words: RegExp) => ({
  status: 'rejected',
  reason: expect.toSatisfy(
    (error: unknown) => Object(error).code === code && words.test(messageOf(error)),
    `${code ?? 'an error'}: ${words}`,
  ),
})
const interruption = refused('INTERRUPTED', /^interrupted/)

/** Returns a machine on which every command runs this shell script instead. */
const machineOf = (text: string) => new LocalShellHost({ prefix: ['sh', '-c', text] })
const path = StorePath.parse(`/nix/store/${'a'.repeat(32)}-hydra-ops-web`)
const activation = { unit: 'hydra-ops-r1.service', log: '/var/log/hydra-ops/r1.log', path, bootId: 'boot-1' }

const nothing = async () => []
const copying = {
  command: {
    run: (_: string, __: readonly string[], options: Parameters<typeof localCommands.run>[1]) =>
      saying('', options),
    store: async () =>
      ({
        kind: 'own',
        remote: '/nonexistent',
        why: 'a test',
        realStoreDir: '/nonexistent',
        buildsHere: true,
        chroot: true,
      }) as const,
  },
  queries: {
    closure: async () => ({ paths: [path], sizes: new Map() }),
    invalid: nothing,
    requisites: nothing,
    outputs: nothing,
    folderOf: async () => undefined,
  },
  spawnReadable: (_: readonly string[], options: Parameters<typeof localCommands.spawnReadable>[1]) =>
    localCommands.spawnReadable(['echo', 'x'], options),
  env: {},
}
const copier = createCopier(copying)

interface Wait {
  /** Starts the wait, with the signal of the whole command. */
  readonly wait: () => Promise<unknown>
  /** The result of the wait without an interruption. */
  readonly ends: object
  /** The result that is allowed before the interruption, from a wait without a signal or from its first part. */
  readonly sooner?: object
}

const waits: Readonly<Record<string, Wait>> = {
  'a pause': {
    wait: () => pause(5, ended.signal),
    ends: value(undefined),
  },
  'a pause that something ends early': {
    wait: () => pauseUnless(Promise.resolve(), 60_000, ended.signal),
    ends: value(undefined),
  },
  'a wait with a deadline': {
    wait: () =>
      bounded(
        forEver(),
        { signal: ended.signal, timeoutMs: 5 },
        { what: 'wait', late: () => new Error('late') },
      ),
    ends: refused(undefined, /^late$/),
  },
  'a wait for a value': {
    wait: () => within(forEver(), 5),
    ends: value(undefined),
    sooner: value(undefined),
  },
  'a wait for a free channel': {
    wait: async () => {
      const slots = new Slots(1)
      await slots.take(ended.signal)
      const waiting = slots.take(ended.signal)
      slots.release()
      await waiting
    },
    ends: value(undefined),
  },
  'a wait for ssh of a host that is down': {
    wait: () =>
      // The wait sees more than ten refusals, and pauses after each.
      ssh.waitForBanner(reach(closedPort), { signal: ended.signal, timeoutMs: 4_000 }),
    ends: refused('UNREACHABLE', /the port is closed for (?:[4-9]|\d\d)[\d.]* s$/),
  },
  'a wait for ssh of a host that lets nobody in': {
    wait: () => ssh.waitForBanner(reach(closingPort), { signal: ended.signal, timeoutMs: 4_000 }),
    ends: refused(
      'UNREACHABLE',
      /(?:closes the connection at once|accepts the connection but sends nothing) for (?:[4-9]|\d\d)[\d.]* s$/,
    ),
  },
  'a look at a host that is down': {
    wait: () => ssh.probe(reach(closedPort), { signal: ended.signal, timeoutMs: 30_000 }),
    ends: value(false),
  },
  'a login at a host that is down': {
    wait: () =>
      ssh.connect(
        { ...reach(closedPort), identityFiles: [join(folder, 'key')] },
        { signal: ended.signal, timeoutMs: 30_000 },
      ),
    ends: refused('UNREACHABLE', /the port is closed$/),
  },
  'a login at a host that drops connections': {
    wait: () =>
      ssh.connect(
        { ...reach(closingPort), identityFiles: [join(folder, 'key')] },
        { signal: ended.signal, timeoutMs: 4_000 },
      ),
    ends: refused('UNREACHABLE', /the server closes the connection/),
  },
  'a wait for ssh through a jump that is missing': {
    wait: () =>
      ssh.waitForBanner(
        { ...reach(closedPort), proxyCommand: 'exit 1' },
        { signal: ended.signal, timeoutMs: 300 },
      ),
    ends: refused('UNREACHABLE', / for (?:0\.[3-9]|[1-9])[\d.]* s$/),
  },
  'a local command': {
    wait: () => localCommands.run(['true'], plainCommand()),
    ends: value(expect.objectContaining({ kind: 'exited', code: 0 })),
  },
  'a local command past its deadline': {
    wait: () => localCommands.run(['sleep', '60'], { ...plainCommand(), timeoutMs: 20 }),
    ends: refused('DEADLINE', /did not end within 0\.02 s$/),
    sooner: refused('DEADLINE', /did not end within/),
  },
  'a local command that is not there': {
    wait: () => localCommands.run(['/nonexistent/program'], plainCommand()),
    ends: refused('NOT_INSTALLED', /is not installed$/),
  },
  'a local program that is read from': {
    wait: async () => {
      const { stdout, done } = localCommands.spawnReadable(['echo', 'x'], plainCommand())
      stdout.resume()
      return done
    },
    ends: value(expect.objectContaining({ kind: 'exited', code: 0 })),
  },
  'a local program that is talked to': {
    wait: async () => {
      const stream = localCommands.spawnDuplex(['cat'], plainCommand())
      stream.resume()
      await new Promise<void>((resolve, reject) => {
        stream.on('close', resolve).on('error', reject)
        stream.end()
      })
    },
    ends: value(undefined),
  },
  'a wait for the maker of an image': {
    wait: () => exclusively(localCommands, folder, run(), async () => 'made'),
    ends: value('made'),
  },
  'a question over HTTP': {
    wait: () =>
      httpStatus({
        url: `http://127.0.0.1:${closingPort}/`,
        connect: () => dial(closingPort),
        checkCertificate: true,
        signal: ended.signal,
        timeoutMs: 30_000,
      }),
    ends: refused('ECONNRESET', /socket hang up|ECONNRESET/),
  },
  'a question to a mail server': {
    wait: () => smtpGreeting({ connect: async () => new PassThrough(), signal: ended.signal, timeoutMs: 50 }),
    ends: refused(undefined, /^no greeting within 0\.05 s$/),
  },
  'a wait of a task': {
    wait: () =>
      waitUntil('web', run(), { what: 'it holds', deadlineMs: 20, pauseMs: 5, wrong: async () => 'not yet' }),
    ends: refused('DEADLINE', /waited .* until it holds: not yet$/),
  },
  'a health check': {
    wait: () =>
      runChecks(
        'healthChecks',
        { ...noChecks, tcp: [{ ...check, host: '127.0.0.1', port: closedPort }] },
        { machine: MachineName.parse('web'), host: new LocalShellHost(), run: run() },
      ),
    ends: value([
      expect.objectContaining({ detail: expect.stringMatching(/ECONNREFUSED .*\(tried for [\d.]+ s\)$/) }),
    ]),
  },
  'a wait for the state folder': {
    wait: () =>
      createStoreLock(join(folder, 'state'), operator, () => new Date(), {
        waitMs: 60_000,
      }).during(run(), async () => 'locked'),
    ends: value('locked'),
    sooner: value('locked'),
  },
  'a listener by itself': {
    wait: async () => onAbort(ended.signal, () => {})(),
    ends: value(undefined),
    sooner: value(undefined),
  },
  'an activation whose machine does not come back': {
    wait: () =>
      followActivation(
        {
          host: Object.assign(machineOf('true'), {
            script: async () => ({ kind: 'lost', stdout: '', stderr: '' }) as const,
          }),
          reconnect: async () => {
            throw unreachable('local', 'nothing answers')
          },
        },
        activation,
        run(),
        { deadlineMs: 300, retryMs: 50 },
      ),
    ends: refused('UNREACHABLE', /^nothing answers$/),
  },
  'a reboot': {
    wait: async () => {
      const link = recordedMachine(world.ops, session, MachineName.parse('web'), run())
      await connect(link)
      const host = await rebootMachine(link)
      return host.machine
    },
    ends: value('web'),
  },
  'a guest that does not shut down': {
    wait: () => stopMachine(hypervisor, guest, 100, run()),
    ends: value(undefined),
  },
  'packages that are installed': {
    wait: () => installPackages(machineOf('true'), { all: ['curl'], own: [] }, { proxy: null, run: run() }),
    ends: value(['curl']),
  },
  'packages that apt does not have': {
    wait: () =>
      installPackages(
        machineOf('echo "E: Unable to locate package curl"; case $2 in *dpkg-query*) ;; *) exit 1 ;; esac'),
        { all: ['curl'], own: [] },
        { proxy: null, run: run() },
      ),
    ends: refused('NO_PACKAGE', /the apt sources of the machine do not contain: curl$/),
  },
  'a copy by the system’s ssh': {
    wait: () =>
      copier.copy(
        machineOf('echo /usr/bin/nix-store'),
        path,
        { sshConfig: '/dev/null', substitute: false },
        run(),
      ),
    ends: value(undefined),
  },
  'a copy over our own connection': {
    wait: () =>
      copyByStream(copying, machineOf('cat > /dev/null'), { missing: [path], nixStore: 'nix-store' }, run()),
    ends: value(undefined),
  },
}

describe('a wait leaves no listener behind, and Node warns of nothing', () => {
  beforeAll(() => {
    makeKey(folder, 'key')
  })

  it.each(Object.entries(waits))(
    `when it runs ${times} times, side by side: %s`,
    async (_, { wait, ends }) => {
      const results = await Promise.allSettled(Array.from({ length: times }, wait))
      expect(results).toEqual(Array(times).fill(ends))
      expect(getEventListeners(ended.signal, 'abort')).toEqual([])
      // Node reports warnings in a later turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve))
      expect(warnings.map(({ message }) => message)).toEqual([])
    },
  )

  it.each(Object.entries(waits))(
    `when the command is interrupted meanwhile: %s`,
    async (_, { wait, sooner = interruption }) => {
      const made = Array.from({ length: times }, wait)
      ended.abort()
      for (const result of await Promise.allSettled(made)) {
        expect([interruption, sooner]).toContainEqual(result)
      }
      expect(getEventListeners(ended.signal, 'abort')).toEqual([])
      await new Promise((resolve) => setImmediate(resolve))
      expect(warnings.map(({ message }) => message)).toEqual([])
    },
  )
})
