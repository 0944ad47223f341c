import { spawn } from 'node:child_process'
import { createConnection } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { failure, interrupted } from '../../src/core/errors.js'
import { errnoOf } from '../../src/core/file-failure.js'
import { MachineName } from '../../src/core/names.js'
import { onAbort } from '../../src/core/on-abort.js'
import type { CommandResult, Host, RemoteOptions, SshTarget } from '../../src/core/ssh.js'

/** A command, as another user of that machine could see it. */
export interface SeenCommand {
  readonly argv: readonly string[]
  readonly what: string
}

/**
 * A stand-in for a machine over ssh: it runs the real scripts and commands on this host, as the tester. `bin` precedes
 * PATH, so that stand-ins can replace single programs. `moved` maps folders of the machine to other places, in scripts
 * and in their arguments (also after `name:`). `asRoot` runs everything in a user namespace whose root is the tester;
 * `prefix` precedes every command.
 */
export class LocalShellHost implements Host {
  readonly machine = MachineName.parse('local')
  readonly escalation = 'root'
  readonly noisyShell = false
  readonly seen: SeenCommand[] = []
  readonly target: SshTarget = {
    machine: this.machine,
    host: '127.0.0.1',
    port: 22,
    user: 'root',
    hostKey: undefined,
    identityFiles: [],
    useAgent: false,
    jump: undefined,
    proxyCommand: undefined,
    sshOptions: [],
    privilegeEscalation: [],
  }
  private readonly path: string
  private readonly moved: readonly (readonly [string, string])[]
  private readonly prefix: readonly string[]

  constructor(
    options: {
      bin?: string
      moved?: Readonly<Record<string, string>>
      asRoot?: boolean
      prefix?: readonly string[]
    } = {},
  ) {
    const path = process.env.PATH ?? '/usr/bin:/bin'
    this.path = options.bin === undefined ? path : `${options.bin}:${path}`
    this.moved = Object.entries(options.moved ?? {})
    this.prefix = options.prefix ?? (options.asRoot === true ? ['unshare', '-r', '--'] : [])
  }

  exec(argv: readonly string[], options: RemoteOptions): Promise<CommandResult> {
    this.seen.push({ argv, what: options.what })
    return run([...this.prefix, ...argv.map((each) => this.relocate(each))], this.path, options)
  }

  script(text: string, args: readonly string[], options: RemoteOptions): Promise<CommandResult> {
    return this.exec(['sh', '-c', this.relocateAll(text), 'sh', ...args], options)
  }

  private relocate(argument: string): string {
    const [, prefix = '', path = ''] = /^((?:[a-z]+:)*)(.*)$/s.exec(argument) ?? []
    const [from, to] = this.moved.find(([folder]) => path.startsWith(folder)) ?? ['', '']
    return prefix + to + path.slice(from.length)
  }

  /** Moves all paths in one pass, so that no path is moved twice. */
  private relocateAll(text: string): string {
    if (this.moved.length === 0) return text
    const folders = this.moved.map(([from]) => from.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    const places = new Map(this.moved)
    return text.replaceAll(new RegExp(folders.join('|'), 'g'), (from) => places.get(from) ?? from)
  }

  async forwardFromRemote(operatorPort: number): Promise<{ port: number; close(): Promise<void> }> {
    return { port: operatorPort, close: async () => {} }
  }

  connectTcp(
    host: string,
    port: number,
    options: { signal: AbortSignal; timeoutMs: number },
  ): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host, port, signal: options.signal })
      socket.once('connect', () => resolve(socket))
      socket.once('error', reject)
    })
  }

  close(): void {}
}

async function run(argv: readonly string[], path: string, options: RemoteOptions): Promise<CommandResult> {
  if (options.signal.aborted) throw interrupted()
  const [file = '', ...args] = argv
  const child = spawn(file, args, { env: { ...process.env, PATH: path, LC_ALL: 'C.UTF-8' }, detached: true })
  const output = { stdout: '', stderr: '' }
  const follow = (stream: 'stdout' | 'stderr') => {
    let rest = ''
    child[stream].setEncoding('utf8').on('data', (chunk: string) => {
      output[stream] += chunk
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) options.onLine?.(line, stream)
    })
  }
  follow('stdout')
  follow('stderr')
  // A program may ignore the rest of its input.
  child.stdin.on('error', () => {})
  if (options.stdin === undefined) child.stdin.end()
  else if (typeof options.stdin === 'string' || options.stdin instanceof Uint8Array)
    child.stdin.end(options.stdin)
  else pipeline(options.stdin, child.stdin).catch(() => {})

  let late = false
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      // All processes of the command have ended, but their output is not read yet.
      if (errnoOf(error) !== 'ESRCH') throw error
    }
  }
  const deadline = setTimeout(() => {
    late = true
    kill()
  }, options.timeoutMs)
  const stopListening = onAbort(options.signal, kill)
  try {
    const ended = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => resolve({ code, signal }))
    })
    if (late) throw failure('DEADLINE', `${options.what}: did not end within ${options.timeoutMs / 1000} s`)
    if (options.signal.aborted) throw interrupted()
    if (ended.code !== null) return { kind: 'exited', code: ended.code, ...output }
    return { kind: 'killed', signal: ended.signal ?? 'unknown', ...output }
  } finally {
    clearTimeout(deadline)
    stopListening()
  }
}
