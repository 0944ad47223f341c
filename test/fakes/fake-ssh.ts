import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { failure, unreachable } from '../../src/core/errors.js'
import type { CommandResult, Host, RemoteOptions, Ssh, SshTarget } from '../../src/core/ssh.js'
import { readScript } from './script-values.js'
import { type GivenSection, runTogether } from './together.js'

/** A command to a made-up machine. */
export interface RecordedExec {
  readonly machine: string
  readonly what: string
  /** The arguments, or the positional parameters of a script. */
  readonly argv: readonly string[]
  /** The text of a script. */
  readonly script: string | undefined
  /** The name of the script below target/. */
  readonly scriptName: string | undefined
  /** The values of the script, by name; a list has one line for each item. */
  readonly values: Readonly<Record<string, string>>
  readonly stdin: string
  readonly asLoginUser: boolean
}

export type Answer = CommandResult | ((command: RecordedExec) => CommandResult | Promise<CommandResult>)

/** An SSH layer without a network: it records every command and gives prepared answers. */
export interface FakeSsh extends Ssh {
  readonly execs: RecordedExec[]
  /** The purposes of the remote commands; one command may carry several scripts. */
  readonly commands: string[]
  /** The machines in the order of their connections. */
  readonly connects: string[]
  /** Sets the result of commands whose `what` equals or matches this value; the latest rule wins. */
  answer(what: string | RegExp, answer: Answer): void
  /** The host keys that machines show; the default is the expected key. */
  readonly hostKeys: Map<string, string>
  /** The machines whose login user cannot become root. */
  readonly sudoless: Set<string>
}

export interface FakeSshOptions {
  /** Tells whether a target answers. Default: always. */
  reachable?(target: SshTarget): boolean
  /**
   * The answer to commands without a rule. Such commands are errors by default, because tests name the commands that
   * they expect.
   */
  readonly fallback?: Answer
  readonly escalation?: Host['escalation']
}

export function succeed(stdout = ''): CommandResult {
  return { kind: 'exited', code: 0, stdout, stderr: '' }
}

export function exit(code: number, stderr = ''): CommandResult {
  return { kind: 'exited', code, stdout: '', stderr }
}

/** Returns the output of the engine's survey script on a Debian machine. */
export function surveyOf(
  facts: Partial<
    Record<'boot_id' | 'systems' | 'os' | 'profile' | 'owner' | 'nix' | 'free_kib' | 'reboot' | 'apt', string>
  >,
): CommandResult {
  const all = {
    boot_id: 'boot-1',
    systems: 'debian',
    os: 'Debian (made up)',
    nix: 'yes',
    free_kib: '9000000',
    ...facts,
  }
  return succeed(
    Object.entries(all)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
}

export function createFakeSsh(options: FakeSshOptions = {}): FakeSsh {
  const rules: { what: string | RegExp; answer: Answer }[] = []
  const execs: RecordedExec[] = []
  const commands: string[] = []
  const connects: string[] = []
  const hostKeys = new Map<string, string>()
  const sudoless = new Set<string>()
  const reachable = (target: SshTarget) => options.reachable?.(target) ?? true
  const answerTo = async (command: RecordedExec): Promise<CommandResult> => {
    if (!command.asLoginUser && sudoless.has(command.machine)) {
      throw failure('NO_SUDO', `machine '${command.machine}': its user cannot become root`)
    }
    execs.push(command)
    const rule = rules.find(({ what }) =>
      typeof what === 'string' ? what === command.what : what.test(command.what),
    )
    const answer = rule?.answer ?? options.fallback
    if (answer === undefined) throw new Error(`the fake machine has no answer to '${command.what}'`)
    return typeof answer === 'function' ? answer(command) : answer
  }
  return {
    execs,
    commands,
    connects,
    hostKeys,
    sudoless,
    answer: (what, answer) => rules.unshift({ what, answer }),
    connect: async (target, { acceptHostKey }) => {
      if (!reachable(target)) throw unreachable(target.machine, `machine '${target.machine}' does not answer`)
      connects.push(target.machine)
      const key = hostKeys.get(target.machine) ?? target.hostKey ?? fakePublicKey(target.machine)
      if (
        target.hostKey === undefined &&
        (await acceptHostKey?.({ key, fingerprint: `SHA256:${key}` })) !== true
      ) {
        throw failure('HOST_KEY', `machine '${target.machine}': its host key is not known`)
      }
      if (target.hostKey !== undefined && target.hostKey !== key) {
        throw failure(
          'HOST_KEY',
          `machine '${target.machine}': its host key changed from ${target.hostKey} to ${key}`,
        )
      }
      const host = fakeHost(target, options.escalation ?? 'root', answerTo, (what) => commands.push(what))
      return { host, hostKey: key }
    },
    waitForBanner: async (target, { onState }) => {
      if (reachable(target)) return
      onState?.('nothing answers')
      throw unreachable(target.machine, `machine '${target.machine}' did not answer in time`)
    },
    probe: async (target) => reachable(target),
    showsKey: async (target) => {
      const shown = hostKeys.get(target.machine) ?? target.hostKey
      return reachable(target) && (target.hostKey === undefined || shown === target.hostKey)
    },
    ensureKeyPair: async (file) => {
      if (!existsSync(`${file}.pub`)) {
        mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
        writeFileSync(file, 'a made-up private key\n', { mode: 0o600 })
        writeFileSync(`${file}.pub`, `${fakePublicKey(file)}\n`)
      }
      return readFileSync(`${file}.pub`, 'utf8').trim()
    },
    resolveUserConfig: async (host, _run, wish) => ({
      hostName: host,
      port: wish.port ?? 22,
      user: wish.user ?? 'root',
      identityFiles: [],
      certificateFiles: [],
      jump: undefined,
      proxyCommand: undefined,
      useAgent: false,
      agentSocket: undefined,
      identitiesOnly: false,
    }),
    renderConfig: (targets, { knownHosts }) => ({
      config: targets
        .map(
          ({ machine, host, port }) =>
            `# fake\nHost ${machine}\n  HostName ${host}\n  Port ${port}\n  UserKnownHostsFile ${knownHosts}\n`,
        )
        .join(''),
      knownHosts: targets.map(({ machine, hostKey }) => `${machine} ${hostKey ?? ''}\n`).join(''),
    }),
  }
}

/** Returns a text in the format of a public key, which no program accepts. */
export function fakePublicKey(seed: string): string {
  return `ssh-ed25519 AAAAfake${createHash('sha256').update(seed).digest('base64url')}`
}

function fakeHost(
  target: SshTarget,
  escalation: Host['escalation'],
  answerTo: (command: RecordedExec) => Promise<CommandResult>,
  onCommand: (what: string) => void,
): Host {
  let closed = false
  const command = async (
    argv: readonly string[],
    script: string | undefined,
    options: RemoteOptions,
  ): Promise<CommandResult> => {
    if (closed) throw new Error(`'${options.what}' on a connection to '${target.machine}' that was closed`)
    const stdin = await textOf(options.stdin)
    const { what } = options
    const given = script === undefined ? undefined : readScript(script)
    if (given?.name === 'together') {
      const run = (section: GivenSection) =>
        command([], section.text, { ...options, what: section.title, stdin: section.stdin, onLine: () => {} })
      return runTogether(given.values, stdin, run, (line) => options.onLine?.(line, 'stdout'))
    }
    const result = await answerTo({
      machine: target.machine,
      what,
      argv,
      script,
      scriptName: given?.name,
      values: given?.values ?? {},
      stdin,
      asLoginUser: options.asLoginUser ?? false,
    })
    for (const stream of ['stdout', 'stderr'] as const) {
      if (options.onLine === undefined || result[stream] === '') continue
      for (const line of result[stream].trimEnd().split('\n')) options.onLine(line, stream)
    }
    return result
  }
  return {
    machine: target.machine,
    target,
    escalation,
    noisyShell: false,
    exec: (argv, options) => {
      onCommand(options.what)
      return command(argv, undefined, options)
    },
    script: (text, args, options) => {
      onCommand(options.what)
      return command(args, text, options)
    },
    forwardFromRemote: async () => ({ port: 3142, close: async () => {} }),
    connectTcp: async () => {
      throw failure('CONNECT', `the fake machine '${target.machine}' has no open ports`)
    },
    close: () => {
      closed = true
    },
  }
}

async function textOf(stdin: RemoteOptions['stdin']): Promise<string> {
  if (stdin === undefined) return ''
  if (typeof stdin === 'string') return stdin
  if (stdin instanceof Uint8Array) return Buffer.from(stdin).toString('latin1')
  let text = ''
  for await (const chunk of stdin) text += typeof chunk === 'string' ? chunk : chunk.toString('latin1')
  return text
}
