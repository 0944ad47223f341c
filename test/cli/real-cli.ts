import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const top = join(import.meta.dirname, '..', '..')

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A state folder, a network expression, and the command line as a separate process that uses both. */
export interface RealCli {
  readonly folder: string
  readonly state: string
  readonly network: string
  run(argv: readonly string[], options?: RunOptions): Promise<Ended>
  start(argv: readonly string[], options?: RunOptions): ChildProcessWithoutNullStreams
  cleanup(): void
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  /** The modules that node loads first. */
  readonly before?: readonly string[]
}

export function realCli(): RealCli {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-cli-'))
  const network = join(folder, 'net.nix')
  writeFileSync(network, '{ }')
  const start: RealCli['start'] = (argv, { env = {}, before = [] } = {}) => {
    const imports = ['tsx', ...before].flatMap((module) => ['--import', module])
    return spawn(process.execPath, [...imports, join(top, 'src', 'cli.ts'), ...argv], {
      cwd: top,
      // The process gets a minimal environment, without the user's state and Nix settings.
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        HYDRA_OPS_STATE: join(folder, 'state'),
        NIX_CONFIG: 'substituters =',
        ...env,
      },
    })
  }
  return {
    folder,
    network,
    state: join(folder, 'state'),
    start,
    run: (argv, options) => ended(start(argv, options)),
    cleanup: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export function ended(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}
