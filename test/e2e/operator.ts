import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** An operator host for a test: the built CLI, a separate state folder, and images that tests share. */
export interface OperatorHost {
  readonly folder: string
  readonly state: string
  readonly env: Record<string, string>
  /** The words that start hydra-ops, without arguments. */
  readonly command: readonly string[]
  /** Runs `hydra-ops …`, and kills it at a deadline. */
  run(args: readonly string[], options?: RunOptions): Promise<Ended>
  /** Runs `hydra-ops …`, and fails the test with the whole output unless the exit code is 0. */
  ok(args: readonly string[], options?: RunOptions): Promise<string>
  /** Runs any other program with the same environment. */
  program(argv: readonly string[], options?: RunOptions): Promise<Ended>
  write(name: string, text: string): string
  dispose(): void
}

export interface RunOptions {
  readonly stdin?: string
  readonly timeoutMs?: number
  readonly env?: Record<string, string>
  /**
   * Receives the program's output since the last answer, and returns whether it typed another answer. The program's
   * input stays open.
   */
  converse?(text: string, type: (input: string) => void): boolean
  /** Receives the process, for tests that interrupt or kill it. */
  onSpawn?(child: ReturnType<typeof spawn>): void
}

/** A guest boots in 11 to 40 s under emulation; a first image takes minutes. */
const defaultMs = 12 * 60_000

export interface OperatorOptions {
  /** The home folder. Default: the home of the tester. */
  readonly home?: string
  /** The command prefix that starts every program. */
  readonly within?: readonly string[]
}

export function operatorHost({ home = homedir(), within = [] }: OperatorOptions = {}): OperatorHost {
  const folder = mkdtempSync(join(tmpdir(), 'ho-e2e-'))
  const state = join(folder, 'state')
  const images = join(homedir(), '.cache', 'hydra-ops-test', 'images')
  mkdirSync(images, { recursive: true })
  mkdirSync(state, { mode: 0o700 })
  symlinkSync(images, join(state, 'images'))
  const env = {
    HOME: home,
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HYDRA_OPS_STATE: state,
    // Tests use no public host, such as the default substituter.
    NIX_CONFIG: 'substituters =',
    NO_COLOR: '1',
  }
  const cli = join(packageRoot(), 'dist', 'src', 'cli.js')
  const program = (argv: readonly string[], options: RunOptions = {}) =>
    execute([...within, ...argv], env, folder, options)
  const command = [process.execPath, cli]
  const run = (args: readonly string[], options: RunOptions = {}) => program([...command, ...args], options)
  return {
    folder,
    state,
    env,
    command: [...within, ...command],
    program,
    run,
    async ok(args, options) {
      const ended = await run(args, options)
      if (ended.code !== 0) {
        throw new Error(
          `hydra-ops ${args.join(' ')} exited with ${ended.code}\n${ended.stderr}\n${ended.stdout}`,
        )
      }
      return ended.stdout
    },
    write(name, text) {
      const file = join(folder, name)
      writeFileSync(file, text)
      return file
    },
    dispose() {
      // The files and folders of a Nix store are read-only.
      execFileSync('chmod', ['-R', 'u+w', '--', folder])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function execute(
  argv: readonly string[],
  env: Record<string, string>,
  cwd: string,
  options: RunOptions,
): Promise<Ended> {
  const [file = '', ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env: { ...env, ...options.env }, stdio: 'pipe' })
    let stdout = ''
    let stderr = ''
    let answeredTo = 0
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text
      const answered = options.converse?.(stdout.slice(answeredTo), (input) => child.stdin.write(input))
      if (answered === true) answeredTo = stdout.length
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text
    })
    const deadline = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${argv.join(' ')} did not end in time\n${stderr}\n${stdout}`))
    }, options.timeoutMs ?? defaultMs)
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(deadline)
      resolve({ code, stdout, stderr })
    })
    // A program may end before it has read all its input.
    child.stdin.on('error', () => {})
    if (options.converse === undefined) child.stdin.end(options.stdin ?? '')
    options.onSpawn?.(child)
  })
}
