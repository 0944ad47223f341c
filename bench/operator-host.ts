import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../src/core/package-root.js'

const execute = promisify(execFile)

/** A temporary operator host: a separate state folder, and the built command line. */
export interface OperatorHost {
  readonly folder: string
  readonly state: string
  readonly env: NodeJS.ProcessEnv
  /** Runs a program; a status other than 0 is an error. */
  program(file: string, args: readonly string[], stdin?: string): Promise<string>
  hydraOps(...args: readonly string[]): Promise<string>
  write(name: string, text: string): string
  dispose(): void
}

export const cli = join(packageRoot(), 'dist', 'src', 'cli.js')

export function operatorHost(): OperatorHost {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-bench-'))
  const state = join(folder, 'state')
  const env = { ...process.env, HYDRA_OPS_STATE: state, NIX_CONFIG: 'substituters =', NO_COLOR: '1' }
  const program = async (file: string, args: readonly string[], stdin = '') => {
    const running = execute(file, [...args], { env, cwd: folder, maxBuffer: 1 << 28, timeout: 600_000 })
    running.child.stdin?.end(stdin)
    return (await running).stdout
  }
  return {
    folder,
    state,
    env,
    program,
    hydraOps: (...args) => program(process.execPath, [cli, ...args]),
    write(name, text) {
      const file = join(folder, name)
      writeFileSync(file, text)
      return file
    },
    dispose: () => {
      // A Nix store is read-only even for its owner.
      execFileSync('chmod', ['-R', 'u+w', folder])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
