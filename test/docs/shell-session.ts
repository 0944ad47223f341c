import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface ShellSession {
  /** Runs commands as if they were typed one after the other; the first failing command ends the shell. */
  run(commands: string, timeoutMs: number): Promise<string>
  /** Whether the shell still runs. */
  readonly alive: boolean
  dispose(): void
}

/** Starts one bash for several scripts, so that later scripts see the variables of earlier scripts. */
export function shellSession(options: {
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}): ShellSession {
  return new Bash(options)
}

class Bash implements ShellSession {
  private readonly folder = mkdtempSync(join(tmpdir(), 'ho-shell-'))
  private readonly bash: ChildProcess
  private readonly done = `done-${process.pid}-${Math.random()}`
  private output = ''
  private pieces = 0
  private changed = () => {}

  constructor(options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> }) {
    // The shell has its own process group, so that killing the group also ends its children.
    this.bash = spawn('bash', ['--norc', '-e', '-o', 'pipefail'], {
      ...options,
      stdio: 'pipe',
      detached: true,
    })
    for (const stream of [this.bash.stdout, this.bash.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        this.changed()
      })
    }
    this.bash.on('close', () => this.changed())
    // `run` reports a write to a shell that has ended.
    this.bash.stdin?.on('error', () => {})
    // Both outputs share one pipe, so that their lines keep their order as on a screen.
    this.bash.stdin?.write('exec 2>&1\n')
  }

  get alive(): boolean {
    return this.bash.exitCode === null && this.bash.signalCode === null
  }

  async run(commands: string, timeoutMs: number): Promise<string> {
    if (!this.alive) throw new Error('an earlier command has failed')
    this.output = ''
    this.pieces += 1
    const file = join(this.folder, `${this.pieces}.sh`)
    writeFileSync(file, `${commands}\n`)
    // The commands must not read the next lines of the shell's input.
    this.bash.stdin?.write(`. '${file}' < /dev/null\necho '${this.done}'\n`)
    await this.ended(commands, timeoutMs)
    return this.output.replace(`${this.done}\n`, '')
  }

  private ended(commands: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (how: string) => reject(new Error(`${how}:\n${commands}\n\n${this.output}`))
      const deadline = setTimeout(() => {
        fail(`not done after ${timeoutMs / 1000} s`)
        this.end()
      }, timeoutMs)
      this.changed = () => {
        const done = this.output.includes(this.done)
        if (!done && this.alive) return
        clearTimeout(deadline)
        if (done) resolve()
        else fail(`failed with ${this.bash.exitCode ?? this.bash.signalCode}`)
      }
      this.changed()
    })
  }

  dispose(): void {
    this.end()
    rmSync(this.folder, { recursive: true, force: true })
  }

  private end(): void {
    const { pid } = this.bash
    if (pid !== undefined && this.alive) process.kill(-pid, 'SIGKILL')
  }
}
