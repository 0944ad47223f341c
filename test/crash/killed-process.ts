import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import { packageRoot } from '../../src/core/package-root.js'

/** A script in one file: a compilation at each start took two thirds of the crash tests' time. */
export interface KillableScript {
  /** Runs the script, which may kill itself. Returns 'killed' or the printed text; any other end is an error. */
  run(args: readonly string[]): Promise<'killed' | string>
  remove(): void
}

export async function killableScript(script: string): Promise<KillableScript> {
  // This folder is in the package, where the script finds the package's modules. Builds empty `dist`, which npm packs.
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
    // 'close' would wait for children (virsh …) that outlive the process and hold its pipes.
    child.on('exit', (_, signal) => {
      if (signal === 'SIGKILL') resolve('killed')
    })
    child.on('close', (code) => {
      if (code === 0) resolve(said.stdout)
      else reject(new Error(`${args.join(' ')} ended with ${code}: ${said.stderr}`))
    })
  })
}
