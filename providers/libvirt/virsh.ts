import { describeEnd } from '../../src/core/command-result.js'
import type { LocalCommands } from '../../src/core/context.js'
import { failure, OpsError } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import type { CommandResult } from '../../src/core/ssh.js'

/** Errors of virsh that hydra-ops handles specially. */
export type VirshComplaint =
  | 'no-connection'
  | 'no-domain'
  | 'not-running'
  | 'already-active'
  | 'no-metadata'
  | 'no-snapshot'
  | 'snapshot-exists'
  | 'unsupported-flags'
  | 'port-taken'
  | 'other'

export interface VirshFailure {
  readonly complaint: VirshComplaint
  /** Messages of virsh without `error:`, joined. */
  readonly message: string
  /** The port of a `port-taken` complaint. */
  readonly port: number | undefined
}

export type VirshOutcome =
  | { readonly kind: 'done'; readonly stdout: string }
  | { readonly kind: 'failed'; readonly failure: VirshFailure }

/** A virsh that is bound to one connection. */
export interface Virsh {
  readonly uri: string
  /** Returns the outcome; throws only if virsh or libvirt is missing, or if the deadline expires. */
  attempt(args: readonly string[], call: VirshCall, run: Run): Promise<VirshOutcome>
  /** Returns the output; throws an error that names the machine for every complaint. */
  must(args: readonly string[], call: VirshCall, run: Run): Promise<string>
}

export interface VirshCall {
  /** The action, as error messages name it. */
  readonly what: string
  readonly machine?: string | undefined
  readonly stdin?: string
  /** Advice for the user after a failure. */
  readonly hint?: string
  /** Deadline in milliseconds, for work that takes longer than usual. */
  readonly timeoutMs?: number
}

/**
 * Deadline that leaves room for the first call, which starts a session's daemon and examines QEMU. The first call takes
 * 4 s on an idle host (measured).
 */
const deadlineMs = 120_000

export function createVirsh(local: Pick<LocalCommands, 'run'>, uri: string): Virsh {
  const attempt: Virsh['attempt'] = async (args, call, run) => {
    const result = await local.run(['virsh', '-q', '-c', uri, ...args], {
      signal: run.signal,
      timeoutMs: call.timeoutMs ?? deadlineMs,
      what: call.what,
      env: { LC_ALL: 'C' },
      ...(call.stdin === undefined ? {} : { stdin: call.stdin }),
    })
    if (result.kind === 'exited' && result.code === 0) return { kind: 'done', stdout: result.stdout }
    const seen = readFailure(result)
    if (seen.complaint === 'no-connection') throw noConnection(uri, seen.message)
    return { kind: 'failed', failure: seen }
  }
  return {
    uri,
    attempt,
    must: async (args, call, run) => {
      const outcome = await attempt(args, call, run)
      if (outcome.kind === 'done') return outcome.stdout
      throw virshError(outcome.failure, call)
    },
  }
}

export function virshError({ message }: VirshFailure, { what, machine, hint }: VirshCall): OpsError {
  const subject = machine === undefined ? '' : `machine '${machine}': `
  return failure('LIBVIRT', `${subject}cannot ${what}: ${message}`, {
    ...(machine === undefined ? {} : { machine }),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** Classifies a failure by its text (in the C locale), because virsh exits with 1 after every failure. */
export function readFailure(result: CommandResult): VirshFailure {
  const message = messageOf(result.stderr) || describeEnd(result)
  const port = /Could not set up host forwarding rule 'tcp:[\d.]+:(\d+)-/.exec(result.stderr)?.[1]
  return {
    complaint: complaints.find(([pattern]) => pattern.test(result.stderr))?.[1] ?? 'other',
    message,
    port: port === undefined ? undefined : Number(port),
  }
}

const complaints: readonly (readonly [RegExp, VirshComplaint])[] = [
  [/Could not set up host forwarding rule/, 'port-taken'],
  [
    /failed to connect to the hypervisor|Unable to get system bus connection|authentication unavailable/,
    'no-connection',
  ],
  [/failed to get domain|Domain not found/, 'no-domain'],
  [/domain is not running|domain '.*' not running/, 'not-running'],
  [/Domain is already active|domain is already running/, 'already-active'],
  [/metadata not found/, 'no-metadata'],
  [/Domain snapshot not found/, 'no-snapshot'],
  [/domain (?:moment|snapshot) '?.*'? already exists/, 'snapshot-exists'],
  [/unsupported flags/, 'unsupported-flags'],
]

/**
 * Joins the lines of the message. virsh usually writes two `error:` lines, then QEMU's own words; the second line
 * has the cause.
 */
function messageOf(stderr: string): string {
  return stderr
    .split('\n')
    .map((line) => line.replace(/^error: /, '').trim())
    .filter((line) => line !== '')
    .join('; ')
}

export function isSystem(uri: string): boolean {
  return /^[a-z]+(?:\+unix)?:\/\/\/system/.test(uri)
}

/** Returns the default connection of a machine whose expression names none. */
export function defaultUri(uid: number | undefined): string {
  return uid === 0 ? 'qemu:///system' : 'qemu:///session'
}

export const daemonCode = 'LIBVIRT_DAEMON'

function noConnection(uri: string, message: string): OpsError {
  return failure(daemonCode, `cannot connect to libvirt (${uri}): ${message}`, { hint: startDaemon(uri) })
}

/** Returns the command that starts the system's daemon, or installs the session's daemon, which starts by itself. */
export function startDaemon(uri: string): string {
  if (!isSystem(uri))
    return 'sudo apt-get install -y --no-install-recommends libvirt-daemon libvirt-daemon-driver-qemu'
  const without = 'virtlogd -d -p /run/virtlogd.pid; libvirtd -d -p /run/libvirtd.pid'
  return `sudo systemctl start libvirtd   # without systemd: sudo sh -c '${without}'`
}

export function isConnectionError(error: unknown): error is OpsError {
  return error instanceof OpsError && (error.code === daemonCode || error.code === 'NOT_INSTALLED')
}
