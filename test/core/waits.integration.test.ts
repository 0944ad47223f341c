import { getEventListeners } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { httpStatus } from '../../src/core/http-request.js'
import { MachineName } from '../../src/core/names.js'
import { onAbort } from '../../src/core/on-abort.js'
import { pause, pauseUnless } from '../../src/core/pause.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { exclusively } from '../../src/images/exclusive.js'
import { runChecks } from '../../src/operations/deploy/health.js'
import { smtpGreeting } from '../../src/setup/smtp-greeting.js'
import { waitUntil } from '../../src/setup/wait-until.js'
import { bounded, within } from '../../src/ssh/bounded.js'
import { Slots } from '../../src/ssh/slots.js'
import { createStoreLock } from '../../state/store-lock.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { freePort, makeKey } from '../fixtures/sshd.js'
import { testSsh } from '../fixtures/sshd-session.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const times = 20

let folder: string
/** Nothing listens there. */
let closedPort: number
/** Accepts, and closes at once. */
let closingPort: number
const closing = createServer((socket) => socket.destroy())
const warnings: Error[] = []
const remember = (warning: Error) => void warnings.push(warning)
let ended: AbortController

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-waits-'))
  closedPort = await freePort()
  closingPort = await freePort()
  await new Promise<void>((resolve) => closing.listen(closingPort, '127.0.0.1', resolve))
  process.on('warning', remember)
})
afterAll(() => {
  process.off('warning', remember)
  closing.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  ended = new AbortController()
  warnings.length = 0
})
afterEach(() => ended.abort())

const soon = { timeoutMs: 700 }
const forEver = () => new Promise<never>(() => {})
const ssh = testSsh()
const reach = (port: number) => sshTarget({ host: '127.0.0.1', port, hostKey })
const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpIxCj68bvynz61R5Osa+XN8/tQGT4mU4Ht7SFll91H'
const run = () => ({ signal: ended.signal, log: () => {} })
const plainCommand = () => ({ signal: ended.signal, timeoutMs: 30_000, what: 'try something' })
const dial = async (port: number) => connectTcp(port, '127.0.0.1')
const noChecks = { cmd: [], http: [], tcp: [], systemd: [] }
const check = { period: 0.05, timeout: 0.2, total: 0.3 }
const operator = { user: 'me', host: 'here', pid: process.pid, command: 'deploy', run: 'a-run' }

/** Every wait of the code base; each is given the signal of the whole command. */
const waits: Readonly<Record<string, () => Promise<unknown>>> = {
  'a pause': () => pause(5, ended.signal),
  'a pause that something ends early': () => pauseUnless(Promise.resolve(), 60_000, ended.signal),
  'a wait with a deadline': () =>
    bounded(
      forEver(),
      { signal: ended.signal, timeoutMs: 5 },
      { what: 'wait', late: () => new Error('late') },
    ),
  'a wait for a value': () => within(forEver(), 5),
  'a wait for a free channel': async () => {
    const slots = new Slots(1)
    await slots.take(ended.signal)
    const waiting = slots.take(ended.signal)
    slots.release()
    await waiting
  },
  'a wait for ssh of a host that is down': () =>
    // More than ten refusals, each of which is followed by a rest.
    ssh.waitForBanner(reach(closedPort), { signal: ended.signal, timeoutMs: 4_000 }),
  'a wait for ssh of a host that lets nobody in': () =>
    ssh.waitForBanner(reach(closingPort), { signal: ended.signal, ...soon }),
  'a look at a host that is down': () => ssh.probe(reach(closedPort), { signal: ended.signal, ...soon }),
  'a login at a host that is down': () =>
    ssh.connect(
      { ...reach(closedPort), identityFiles: [join(folder, 'key')] },
      { signal: ended.signal, ...soon },
    ),
  'a login at a host that drops connections': () =>
    ssh.connect(
      { ...reach(closingPort), identityFiles: [join(folder, 'key')] },
      { signal: ended.signal, ...soon },
    ),
  'a wait for ssh through a jump that is missing': () =>
    ssh.waitForBanner(
      { ...reach(closedPort), proxyCommand: 'exit 1' },
      { signal: ended.signal, timeoutMs: 300 },
    ),
  'a local command': () => localCommands.run(['true'], plainCommand()),
  'a local command past its deadline': () =>
    localCommands.run(['sleep', '60'], { ...plainCommand(), timeoutMs: 20 }),
  'a local command that is not there': () => localCommands.run(['/nonexistent/program'], plainCommand()),
  'a local program that is read from': async () => {
    const { stdout, done } = localCommands.spawnReadable(['echo', 'x'], plainCommand())
    stdout.resume()
    await done
  },
  'a local program that is talked to': async () => {
    const stream = localCommands.spawnDuplex(['cat'], plainCommand())
    stream.resume()
    await new Promise((resolve) => {
      stream.on('close', resolve).on('error', resolve)
      stream.end()
    })
  },
  'a wait for whoever makes an image': () => exclusively(localCommands, folder, run(), async () => {}),
  'a question over HTTP': () =>
    httpStatus({
      url: `http://127.0.0.1:${closingPort}/`,
      connect: () => dial(closingPort),
      checkCertificate: true,
      signal: ended.signal,
      ...soon,
    }),
  'a question to a mail server': () =>
    smtpGreeting({ connect: async () => new PassThrough().end(), signal: ended.signal, ...soon }),
  'a wait of a task': () =>
    waitUntil('web', run(), { what: 'it holds', deadlineMs: 20, pauseMs: 5, wrong: async () => 'not yet' }),
  'a health check': () =>
    runChecks(
      'healthChecks',
      { ...noChecks, tcp: [{ ...check, host: '127.0.0.1', port: closedPort }] },
      { machine: MachineName.parse('web'), host: new LocalShellHost(), run: run() },
    ),
  'a wait for the state folder': () =>
    createStoreLock(join(folder, 'state'), operator, () => new Date(), {
      waitMs: 5_000,
      blockingWaitMs: 10,
    }).during(run(), async () => {}),
  'a listener by itself': async () => onAbort(ended.signal, () => {})(),
}

describe('a wait leaves no listener behind, and Node warns of nothing', () => {
  beforeAll(() => {
    makeKey(folder, 'key')
  })

  it.each(Object.keys(waits))(`when it is made ${times} times, side by side: %s`, async (name) => {
    const results = await Promise.allSettled(Array.from({ length: times }, () => waits[name]?.()))
    expect(results).toHaveLength(times)
    expect(getEventListeners(ended.signal, 'abort')).toEqual([])
    // Node tells of them in a later turn.
    await new Promise((resolve) => setImmediate(resolve))
    expect(warnings.map(({ message }) => message)).toEqual([])
  })

  it.each(Object.keys(waits))(`when the command is interrupted meanwhile: %s`, async (name) => {
    const made = Array.from({ length: times }, () => waits[name]?.())
    ended.abort()
    await Promise.allSettled(made)
    expect(getEventListeners(ended.signal, 'abort')).toEqual([])
    await new Promise((resolve) => setImmediate(resolve))
    expect(warnings.map(({ message }) => message)).toEqual([])
  })
})
