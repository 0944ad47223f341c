import { commandFailure, requireSuccess } from '../core/command-result.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import type { ScriptValues } from '../core/target-file.js'
import { targetScript } from './target-scripts.js'

export interface RemoteScript {
  readonly what: string
  /** Name of a file in `target/` without its suffix: `tasks/nix/look`. */
  readonly script: string
  readonly values?: ScriptValues
  readonly stdin?: string
  readonly hint?: string
  /** Deadline in milliseconds; a guest under emulation is slow. */
  readonly timeoutMs?: number
  /** Whether the script runs as the user who logs in, without root. */
  readonly asLoginUser?: boolean
}

const usualMs = 300_000

/** Values from the `name=value` lines of a script; a name may occur more than once. */
export type Facts = ReadonlyMap<string, readonly string[]>

/** A shell on a machine. */
export type Shell = Pick<Host, 'machine' | 'script'>

/** Runs a script that changes nothing, and reads its facts. */
export async function askMachine(host: Shell, question: RemoteScript, run: Run): Promise<Facts> {
  const { stdout } = await runScript(host, question, run, () => {})
  const facts = new Map<string, string[]>()
  for (const line of stdout.split('\n')) {
    const at = line.indexOf('=')
    if (at < 0) continue
    const name = line.slice(0, at)
    facts.set(name, [...(facts.get(name) ?? []), line.slice(at + 1)])
  }
  return facts
}

/** Returns the first value of a fact, or ''. */
export function fact(facts: Facts, name: string): string {
  return facts.get(name)?.[0] ?? ''
}

/** Runs a script that must succeed, and logs its output. */
export async function runScript(
  host: Shell,
  { what, script, values, stdin, hint, timeoutMs = usualMs, asLoginUser }: RemoteScript,
  run: Run,
  onLine: (line: string) => void = (line) => run.log(line),
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const result = await host.script(targetScript(script, values), [], {
    signal: run.signal,
    timeoutMs,
    what,
    ...(stdin === undefined ? {} : { stdin }),
    ...(asLoginUser === undefined ? {} : { asLoginUser }),
    onLine,
  })
  const facts = { machine: host.machine, what, ...(hint === undefined ? {} : { hint }) }
  if (result.kind === 'exited' && result.code === 0) return requireSuccess(result, facts)
  throw commandFailure(result, facts)
}
