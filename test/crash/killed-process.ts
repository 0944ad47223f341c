import { spawn } from 'node:child_process'

/** Runs a script that may kill itself. Answers 'killed' when it did, else what it printed; any other end is an error. */
export function runUntilKilled(script: string, args: readonly string[]): Promise<'killed' | string> {
  return new Promise((resolve, reject) => {
    const argv = ['--import', 'tsx', script, ...args]
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
