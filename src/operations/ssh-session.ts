import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { MachineName } from '../core/names.js'
import { machineOf } from '../machine/resource.js'
import { sshClientConfig } from '../machine/ssh-client.js'

export interface SshRequest {
  readonly deployment: string | undefined
  /** Target: `web` or `alice@web`. */
  readonly who: string
  /** Flags of ssh, then the command, as ssh itself accepts them after the host. */
  readonly args: readonly string[]
}

/** Runs a session of the system's ssh on the user's terminal; returns the exit status of ssh. */
export async function sshSession(ops: Ops, request: SshRequest): Promise<number> {
  const { user, machine } = splitWho(request.who)
  const { flags, command } = splitSshArguments(request.args)
  const record = await ops.store.resolve(request.deployment)
  machineOf(record, machine)
  const run = { signal: ops.signal, log: () => {} }
  const config = await sshClientConfig(ops, record, [MachineName.parse(machine)], run)
  const login = user === undefined ? [] : ['-l', user]
  return ops.local.interactive(['ssh', '-F', config, ...login, ...flags, '--', machine, ...command], {
    signal: ops.signal,
  })
}

/** Splits `alice@web` at the last `@`; refuses a user name that ssh could read as a flag. */
export function splitWho(who: string): { user: string | undefined; machine: string } {
  const at = who.lastIndexOf('@')
  if (at < 0) return { user: undefined, machine: who }
  const user = who.slice(0, at)
  if (!/^[\w][\w.@-]*\$?$/.test(user)) throw usageError(`'${user}' is not a valid name of a user`)
  return { user, machine: who.slice(at + 1) }
}

/** Flags of ssh(1) that make sense for hydra-ops machines; hydra-ops itself sets -F, -p and similar flags. */
const plainFlags = '46AaCfgKkNnqsTtVvXxYy'
const valuedFlags = 'BbcDeiLmOoQRSWw'

/** Splits the words after the machine into flags of ssh and the command, as ssh's own getopt does. */
export function splitSshArguments(args: readonly string[]): { flags: string[]; command: string[] } {
  const flags: string[] = []
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? ''
    if (word === '--') return { flags, command: args.slice(at + 1) }
    if (!word.startsWith('-') || word === '-') return { flags, command: args.slice(at) }
    flags.push(word)
    if (!needsValue(word)) continue
    const value = args[at + 1]
    if (value === undefined) throw usageError(`the flag ${word} of ssh needs a value`)
    flags.push(value)
    at += 1
  }
  return { flags, command: [] }
}

/** Says whether the value of the cluster's last flag is the next word. */
function needsValue(cluster: string): boolean {
  for (let at = 1; at < cluster.length; at += 1) {
    const letter = cluster.charAt(at)
    if (valuedFlags.includes(letter)) return at === cluster.length - 1
    if (plainFlags.includes(letter)) continue
    throw usageError(`hydra-ops cannot pass the flag '${cluster}' to ssh`, {
      hint: "write flags of hydra-ops before the machine, and a command that begins with '-' after '--'",
    })
  }
  return false
}
