import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import { packageRoot } from '../../src/core/package-root.js'

/** A script in one file: compiling it again at each start took two thirds of the time of the crash tests. */
export interface KillableScript {
  /** Runs the script, which may kill itself. Answers 'killed' when it did, else what it printed; any other end is an error. */
  run(args: readonly string[]): Promise<'killed' | string>
  remove(): void
}

export async function killableScript(script: string): Promise<KillableScript> {
  // Below the package, where the script finds the package's files and modules. A build empties `dist`, and npm packs it.
  const cache = join(packageRoot(), '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'crash-'))
  const outfile = join(folder, basename(script).replace(/\.ts$/, '.mjs'))
  const shape = { bundle: true, packages: 'external', platform: 'node', format: 'esm' } as const
  await build({ entryPoints: [script], outfile, target: 'node20.11', logLevel: 'warning', ...shape })
  return {
    run: (args) => runUntilKilled(outfile, args),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function runUntilKilled(script: string, args: readonly string[]): Promise<'killed' | string> {
  return new Promise((resolve, reject) => {
    const argv = [script, ...args]
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
    const said = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text) => {
        said[name] += text
      })
    }
    child.on('error', reject)
    // Not 'close': what it had begun (virsh …) may go on, and hold its pipes.
    child.on('exit', (_, signal) => {
      if (signal === 'SIGKILL') resolve('killed')
    })
    child.on('close', (code) => {
      if (code === 0) resolve(said.stdout)
      else reject(new Error(`${args.join(' ')} ended with ${code}: ${said.stderr}`))
    })
  })
}
