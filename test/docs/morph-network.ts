import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import * as z from 'zod'
import type { Ended } from '../e2e/operator.js'
import { rootLogin, type SshOperator, sshOperator } from '../e2e/ssh-operator.js'
import { AptRelay } from '../fixtures/apt-relay.js'
import { placeBusybox } from '../fixtures/foreign-program.js'
import { freePort } from '../fixtures/free-port.js'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { lanCable } from '../fixtures/guest-qemu.js'
import { plainSsh } from '../fixtures/guest-ssh.js'
import { NixosGuest } from '../systems/nixos/guest.js'
import { nixpkgsAddress, nixpkgsBranch, nixpkgsOnCi, writeMorphNetwork, writeNixpkgs } from './morph-files.js'
import { readerShell } from './reader-shell.js'
import type { ShellSession } from './shell-session.js'

const minutes = 60_000
const pauseMs = 5_000
/**
 * The time for Hydra to poll the repository, evaluate and build. The builds' programs run under two layers of
 * emulation.
 */
const evaluationMs = 40 * minutes

const Status = z.object({
  jobsets: z.array(
    z.looseObject({
      detail: z
        .looseObject({
          evaluation: z.looseObject({ id: z.number() }).optional(),
          inputs: z.record(z.string(), z.string()).default({}),
          gate: z.looseObject({ state: z.string() }).optional(),
        })
        .optional(),
    }),
  ),
})

/** The network of docs/morph.md on two guests, with the reader's shell in its repository. */
export class MorphNetwork {
  readonly operator: SshOperator
  readonly shell: ShellSession
  readonly ci: Guest
  readonly pi: NixosGuest
  readonly url: string
  private readonly parts: Parts
  private readonly searchPath: Record<string, string>

  private constructor(parts: Parts) {
    this.parts = parts
    this.operator = parts.operator
    this.ci = parts.ci
    this.pi = parts.pi
    this.url = `http://127.0.0.1:${parts.port}`
    const repository = join(this.operator.folder, 'network')
    mkdirSync(repository)
    writeMorphNetwork(repository, changesFor(this.url, parts.proxy))
    const nixpkgs = join(this.operator.folder, 'nixpkgs')
    writeNixpkgs(nixpkgs, (file) => placeBusybox('arm64', file))
    this.searchPath = { NIX_PATH: `nixpkgs=${nixpkgs}` }
    // git gets its own ssh configuration, because ssh itself reads the configuration in the tester's home.
    const git = { GIT_SSH_COMMAND: `ssh -F '${parts.operator.write('ssh_config', parts.ssh)}'` }
    this.shell = readerShell(this.operator, repository, { ...this.searchPath, ...git })
  }

  /** Starts the guests, and writes the network into an empty repository. */
  static async start(): Promise<MorphNetwork> {
    const cable = lanCable()
    const relay = new AptRelay()
    const operator = sshOperator()
    const open: { dispose(): unknown }[] = [operator, relay, { dispose: () => cable.remove() }]
    try {
      const proxy = await relay.listen()
      const [ciEnd, piEnd] = cable.ends
      const ci = await startGuest({ name: 'ci', lan: ciEnd })
      open.unshift(ci)
      const pi = await NixosGuest.start({ lan: piEnd })
      open.unshift(pi)
      await prepare(pi, ciEnd.address)
      const port = await freePort()
      open.unshift(await forward(ci, port))
      const host = (name: string, guest: Guest, more = '') =>
        `${rootLogin(`${name}.example.org`, guest)}${more}`
      operator.sshConfig(`${host('ci', ci)}${host('pi', pi.guest.guest)}`)
      const known = `  UserKnownHostsFile ${join(ci.identityFile, '..', 'known_hosts')}\n`
      const ssh = host('ci', ci, known)
      const network = new MorphNetwork({ ...{ operator, ci, pi, port, proxy }, open, ssh })
      await network.shell.run(
        'git init --quiet --initial-branch main && git add . && git commit --quiet -m Morph',
        minutes,
      )
      return network
    } catch (error) {
      for (const each of open) await each.dispose()
      throw error
    }
  }

  /** Puts the stand-in for nixpkgs into a repository on `ci`, where git finds it by the address of nixpkgs. */
  async placeNixpkgs(): Promise<void> {
    await this.shell.run(
      `hydra-ops ssh -d home ci -- git init --quiet --bare ${nixpkgsOnCi}
cd ../nixpkgs
git init --quiet --initial-branch ${nixpkgsBranch}
git add .
git commit --quiet --message 'A stand-in'
git push --quiet root@ci.example.org:${nixpkgsOnCi} ${nixpkgsBranch}
cd ../network`,
      10 * minutes,
    )
  }

  /** Changes a file of the network. */
  async change(): Promise<void> {
    await this.shell.run(
      `sed -i 's/uname -m > $out/{ uname -m; echo changed; } > $out/' network.nix`,
      minutes,
    )
  }

  /** Waits until Hydra has built the last commit for `pi`. */
  async built(): Promise<void> {
    const revision = (await this.shell.run('git rev-parse HEAD', minutes)).trim()
    const deadline = Date.now() + evaluationMs
    for (;;) {
      const status = await this.operator.ok(['hydra', 'status', 'home:pi', '-d', 'home', '--json'])
      const [{ detail = undefined } = {}] = Status.parse(JSON.parse(status)).jobsets
      if (detail?.inputs.network === revision && detail.gate?.state === 'succeeded') return
      if (Date.now() > deadline) throw new Error(`Hydra never built ${revision}\n${status}`)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  /** Runs `hydra-ops …` outside the reader's shell; resolves for every exit status. */
  onLaptop(args: readonly string[]): Promise<Ended> {
    return this.operator.run(args, { env: this.searchPath, timeoutMs: 20 * minutes })
  }

  /** Tells whether the operator host has a path in its store. */
  async operatorHas(path: string): Promise<boolean> {
    const store = { env: { NIX_REMOTE: join(this.operator.state, 'nix') } }
    const { code } = await this.operator.program(['nix-store', '--check-validity', path], store)
    return code === 0
  }

  /** Returns the narinfo of a store path from the cache. */
  async narinfo(path: string): Promise<string> {
    const hash = path.replace('/nix/store/', '').slice(0, 32)
    const answer = await fetch(`${this.url}/static-cache/${hash}.narinfo`)
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
    return answer.text()
  }

  /** Returns the system that `pi` runs. */
  async running(): Promise<string> {
    return (await this.pi.look()).current ?? ''
  }

  async dispose(): Promise<void> {
    this.shell.dispose()
    for (const each of this.parts.open) await each.dispose()
  }
}

interface Parts {
  readonly operator: SshOperator
  readonly ci: Guest
  readonly pi: NixosGuest
  /** The port of the operator host that leads to the web server of `ci`. */
  readonly port: number
  readonly proxy: number
  /** The ssh configuration for the reader's git. */
  readonly ssh: string
  readonly open: readonly { dispose(): unknown }[]
}

/**
 * Returns the changes to the document's network. The guests of a test reach only each other, and no DNS name resolves
 * to them.
 */
function changesFor(url: string, proxy: number): readonly (readonly [string, string])[] {
  const [target, safe] = ['targetHost = "ci.example.org";', 'directory = /srv/network.git\\n']
  const instead = `\\tdirectory = ${nixpkgsOnCi}\\n[url \\"${nixpkgsOnCi}\\"]\\n\\tinsteadOf = ${nixpkgsAddress}\\n`
  return [
    ['url = "http://ci.example.org";', `url = "${url}";`],
    ['hostName = "ci.example.org";', `hostName = "ci.example.org"; url = "${url}";`],
    [target, `${target} aptProxy = "operator:${proxy}";`],
    [safe, `${safe}${instead}`],
    ['[ "https://cache.nixos.org" ]', '[ ]'],
    // The stand-in for Hydra needs these packages.
    ['aptPackages = [ "git" ];', 'aptPackages = [ "git" "python3-psycopg2" "python3-cryptography" ];'],
  ]
}

/**
 * Makes a guest look like a board with NixOS. Its /etc/os-release names NixOS, files in /etc point into the running
 * system, and `ci` has an address. No substituter is set before the first deploy.
 */
async function prepare(pi: NixosGuest, ci: string): Promise<void> {
  await pi.sh(
    `sed -i 's/^ID=.*/ID=nixos/; s/^ID_LIKE=.*//' /etc/os-release
echo "$1 ci.example.org" >> /etc/hosts
ln -s /run/current-system/etc/built-on /etc/built-on
printf '%s\\n' 'substituters =' '!include /run/current-system/etc/nix/nix.conf' > /etc/nix/nix.conf`,
    ci,
  )
}

/** Forwards a port of this host to the web server of a guest. */
async function forward(guest: Guest, port: number): Promise<{ dispose(): void }> {
  const way = ['-N', '-o', 'ExitOnForwardFailure=yes', '-L', `127.0.0.1:${port}:127.0.0.1:80`]
  const words = [...plainSsh(guest.identityFile), ...way, '-p', String(guest.port), `root@${guest.host}`]
  const ssh = spawn('setpriv', ['--pdeathsig', 'TERM', 'ssh', ...words], { stdio: 'ignore' })
  const deadline = Date.now() + 2 * minutes
  while (!(await listens(port))) {
    if (ssh.exitCode !== null || Date.now() > deadline) throw new Error(`no way to port 80 of ${guest.name}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  return { dispose: () => void ssh.kill() }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    for (const [event, answer] of [
      ['connect', true],
      ['error', false],
    ] as const)
      socket.on(event, () => {
        socket.destroy()
        resolve(answer)
      })
  })
}
