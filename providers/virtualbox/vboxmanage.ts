import { describeEnd } from '../../src/core/command-result.js'
import { failure, OpsError } from '../../src/core/errors.js'
import { pause } from '../../src/core/pause.js'
import type { Run } from '../../src/core/run.js'
import type { CommandResult } from '../../src/core/ssh.js'
import type { VirtualBoxParts } from './places.js'

/** Failures of VBoxManage that hydra-ops handles specially. */
export type Complaint =
  | 'not-found'
  | 'in-use'
  | 'locked'
  | 'wrong-state'
  | 'no-file'
  | 'file-exists'
  | 'inaccessible'
  | 'other'

export interface VBoxFailure {
  readonly complaint: Complaint
  /** VirtualBox's own name for the error, such as `VBOX_E_OBJECT_NOT_FOUND`. */
  readonly code: string | undefined
  /** Messages of VBoxManage without `VBoxManage: error:`, joined. */
  readonly message: string
  readonly stdout: string
}

export type VBoxOutcome =
  | { readonly kind: 'done'; readonly stdout: string }
  | { readonly kind: 'failed'; readonly failure: VBoxFailure }

export interface VBoxCall {
  /** The action, as error messages name it. */
  readonly what: string
  readonly machine?: string | undefined
  /** Advice for the user after a failure. */
  readonly hint?: string | undefined
  readonly timeoutMs?: number
}

export interface VBoxManage {
  /** Returns the outcome; throws only if the program is missing or the deadline expires. */
  attempt(args: readonly string[], call: VBoxCall, run: Run): Promise<VBoxOutcome>
  /** Retries while another session holds the machine's lock, as for a moment after its power-off. */
  attemptUnlocked(args: readonly string[], call: VBoxCall, run: Run): Promise<VBoxOutcome>
  /** Returns the output; throws an error that names the machine for every complaint. */
  must(args: readonly string[], call: VBoxCall, run: Run): Promise<string>
  mustUnlocked(args: readonly string[], call: VBoxCall, run: Run): Promise<string>
}

/** Deadline that leaves room for the first call on a busy host, because the first call starts VBoxSVC. */
const deadlineMs = 120_000

/** Time for an ending session to release its lock. */
const lockMs = 15_000
const lockPollMs = 300

export function createVBoxManage({ local, program }: VirtualBoxParts): VBoxManage {
  const attempt: VBoxManage['attempt'] = async (args, call, run) => {
    const result = await local.run([program, ...args], {
      signal: run.signal,
      timeoutMs: call.timeoutMs ?? deadlineMs,
      what: call.what,
      env: { LC_ALL: 'C' },
    })
    return readOutcome(result)
  }
  const attemptUnlocked: VBoxManage['attempt'] = async (args, call, run) => {
    const end = Date.now() + lockMs
    for (;;) {
      const outcome = await attempt(args, call, run)
      if (outcome.kind === 'done' || outcome.failure.complaint !== 'locked' || Date.now() >= end)
        return outcome
      await pause(lockPollMs, run.signal)
    }
  }
  return {
    attempt,
    attemptUnlocked,
    must: async (args, call, run) => stdoutOf(await attempt(args, call, run), call),
    mustUnlocked: async (args, call, run) => stdoutOf(await attemptUnlocked(args, call, run), call),
  }
}

function stdoutOf(outcome: VBoxOutcome, call: VBoxCall): string {
  if (outcome.kind === 'done') return outcome.stdout
  throw vboxError(outcome.failure, call)
}

export function vboxError({ message }: VBoxFailure, { what, machine, hint }: VBoxCall): OpsError {
  const subject = machine === undefined ? '' : `machine '${machine}': `
  return failure('VIRTUALBOX', `${subject}cannot ${what}: ${message}`, {
    ...(machine === undefined ? {} : { machine }),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** Judges a call. An error on stderr always counts as a failure, because some verbs exit with 0 after a failure. */
export function readOutcome(result: CommandResult): VBoxOutcome {
  const stdout = withoutWarning(result.stdout)
  const said = errorLines(result.stderr)
  if (said.length === 0 && result.kind === 'exited' && result.code === 0) return { kind: 'done', stdout }
  return { kind: 'failed', failure: readFailure(result, said, stdout) }
}

const errorMark = 'VBoxManage: error: '

/** Lists VBoxManage's error messages, without their prefix. The usage text after an error is left out. */
function errorLines(stderr: string): string[] {
  return stderr
    .split('\n')
    .flatMap((line) => (line.startsWith(errorMark.trimEnd()) ? [line.slice(errorMark.length).trim()] : []))
}

function readFailure(result: CommandResult, said: readonly string[], stdout: string): VBoxFailure {
  const own = said.filter((line) => line !== '' && !/^(?:Details: code|Context: ")/.test(line))
  const messages = [...new Set(own)]
  const message = messages.slice(0, 3).join('; ') || otherWords(result) || describeEnd(result)
  const code = codeOf(said)
  return { complaint: complaintOf(code, message), code, message, stdout }
}

/**
 * Returns the first line on stderr that does not show progress, for failures without VBoxManage's own error prefix.
 */
function otherWords({ stderr }: CommandResult): string | undefined {
  const lines = stderr.split('\n').map((line) => line.trim())
  return lines.find(
    (line) => line !== '' && !/^\d+%|^VBoxManage: error:|VirtualBox Command Line|^Copyright/.test(line),
  )
}

/** Finds VirtualBox's name for the error: in the details, or else in the message. */
function codeOf(said: readonly string[]): string | undefined {
  for (const pattern of [/^Details: code ([A-Z][A-Z0-9_]+) \(0x/, /^Code ([A-Z][A-Z0-9_]+) \(0x/]) {
    const found = said.flatMap((line) => pattern.exec(line)?.[1] ?? [])[0]
    if (found !== undefined) return found
  }
  return undefined
}

const complaints: Readonly<Record<string, Complaint>> = {
  VBOX_E_OBJECT_NOT_FOUND: 'not-found',
  VBOX_E_OBJECT_IN_USE: 'in-use',
  VBOX_E_INVALID_OBJECT_STATE: 'locked',
  VBOX_E_INVALID_VM_STATE: 'wrong-state',
  E_ACCESSDENIED: 'inaccessible',
}

/** Classifies a failure by its code. All file errors share one code, and name the cause in a second code. */
function complaintOf(code: string | undefined, message: string): Complaint {
  if (code === 'VBOX_E_FILE_ERROR') {
    if (/\bVERR_(?:FILE|PATH)_NOT_FOUND\b/.test(message)) return 'no-file'
    if (/\bVERR_ALREADY_EXISTS\b/.test(message)) return 'file-exists'
  }
  return code === undefined ? 'other' : (complaints[code] ?? 'other')
}

const lastWarningLine = /You will not be able to start VMs until this problem is fixed\.\s*\n?/

/** Removes the warning about a missing driver, which the wrapper around VBoxManage prints before all output. */
export function withoutWarning(stdout: string): string {
  if (!stdout.startsWith('WARNING:')) return stdout
  const end = lastWarningLine.exec(stdout)
  return end === null ? stdout : stdout.slice(end.index + end[0].length).replace(/^\n/, '')
}

/** Finds the version in the output of `--version`, which may follow any warnings. */
export function parseVersion(stdout: string): string | undefined {
  return stdout
    .split('\n')
    .filter((line) => /^\d+\.\d+\.\d+/.test(line))
    .at(-1)
}

/** Tells whether the error means that VirtualBox is not installed. */
export function isAbsent(error: unknown): error is OpsError {
  return error instanceof OpsError && (error.code === 'NOT_INSTALLED' || error.code === 'NOT_EXECUTABLE')
}
