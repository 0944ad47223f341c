import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MachineName } from '../src/core/names.js'
import type { SshTarget } from '../src/core/ssh.js'
import { localCommands } from '../src/exec/local-commands.js'
import { createSsh } from '../src/ssh/create-ssh.js'
import { type Comparison, median, timed } from './measure.js'
import { type OperatorHost, operatorHost } from './operator-host.js'

const bootMs = 300_000
/** Maximum time until hydra-ops notices a ready sshd. */
const noticedWithinMs = 250

const network = `{
  guest = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    deployment.libvirtd.outbound = false;
    deployment.libvirtd.memorySize = 512;
  };
}
`

/**
 * Compares the time until a started guest is known to be reachable with a floor. The floor is the sum of two
 * times: the time until the console reports a ready sshd, and the time that sshd takes to answer. The floor reads
 * only the console, because each connection attempt takes processor time from the guest.
 */
export async function guestStart(): Promise<Comparison[]> {
  const host = operatorHost()
  // All tests and benchmarks share the images: the build of an image is not measured.
  const images = join(homedir(), '.cache', 'hydra-ops-test', 'images')
  mkdirSync(images, { recursive: true })
  mkdirSync(host.state, { mode: 0o700 })
  symlinkSync(images, join(host.state, 'images'))
  const file = host.write('network.nix', network)
  try {
    await host.hydraOps('create', file, '-d', 'bench')
    await host.hydraOps('deploy', '-d', 'bench', '--yes', '--create-only')
    await host.hydraOps('stop', '-d', 'bench')
    const port = await sshPort(host)
    const console = consoleOf(host)
    const { size } = statSync(console)
    const begin = performance.now()
    const since = async (event: Promise<void>) => {
      await event
      return performance.now() - begin
    }
    const waits = [
      host.hydraOps('start', '-d', 'bench').then(() => 0),
      since(untilSshdIsReady(console, size)),
      since(untilReachable(host, port)),
    ] as const
    // All waits must settle first: `start` holds the lock of the deployment, which must be destroyed at the end.
    await Promise.allSettled(waits)
    const [, readyMs, ms] = await Promise.all(waits)
    const floorMs = readyMs + (await answerTime(port))
    const late = ms - floorMs
    return [
      {
        what: 'guest start until reachable',
        ms,
        floor: 'until sshd is ready, and one answer',
        floorMs,
        budget: `noticed within ${noticedWithinMs} ms (here: ${late.toFixed(0)})`,
        kept: late <= noticedWithinMs,
      },
    ]
  } finally {
    await host.hydraOps('destroy', '-d', 'bench', '--yes').catch(() => {})
    host.dispose()
  }
}

async function sshPort(host: OperatorHost): Promise<number> {
  const config = await host.hydraOps('ssh-config', '-d', 'bench')
  const port = /^\s*Port (\d+)$/m.exec(config)?.[1]
  if (port === undefined) throw new Error(`no port in:\n${config}`)
  return Number(port)
}

/** Waits for sshd's banner, as the engine does for every machine. */
function untilReachable(host: OperatorHost, port: number): Promise<void> {
  const ssh = createSsh({ local: localCommands, env: host.env, homeDir: host.folder })
  const target: SshTarget = {
    machine: MachineName.parse('guest'),
    host: '127.0.0.1',
    port,
    user: 'root',
    hostKey: undefined,
    identityFiles: [],
    useAgent: false,
    jump: undefined,
    proxyCommand: undefined,
    sshOptions: [],
    privilegeEscalation: [],
  }
  return ssh.waitForBanner(target, { signal: new AbortController().signal, timeoutMs: bootMs })
}

/** Returns the path of the console log of the only guest. */
function consoleOf(host: OperatorHost): string {
  const deployments = join(host.state, 'deployments')
  const [uuid = ''] = readdirSync(deployments)
  return join(deployments, uuid, 'console', 'guest.log')
}

/** Waits until the console reports that systemd started sshd; the first `from` bytes of the log are skipped. */
async function untilSshdIsReady(console: string, from: number): Promise<void> {
  const deadline = performance.now() + bootMs
  while (!/Started \S*ssh\.service/.test(readFileSync(console).subarray(from).toString('latin1'))) {
    if (performance.now() > deadline) throw new Error(`no sshd was started, by ${console}`)
    await sleep(20)
  }
}

/** Measures the median time from a connection to the first data of an idle sshd. */
async function answerTime(port: number): Promise<number> {
  const times: number[] = []
  for (let turn = 0; turn < 5; turn += 1) times.push(await timed(() => firstWord(port)))
  return median(times)
}

function firstWord(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' })
    const end = (error?: Error) => {
      socket.destroy()
      if (error === undefined) resolve()
      else reject(error)
    }
    socket.setTimeout(bootMs, () => end(new Error(`port ${port} is silent`)))
    socket.once('error', end)
    socket.once('close', () => end(new Error(`port ${port} closes without a word`)))
    socket.once('data', () => end())
  })
}
