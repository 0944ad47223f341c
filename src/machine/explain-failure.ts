import type { Ops } from '../core/context.js'
import { withinDeadline } from '../core/deadline.js'
import { OpsError } from '../core/errors.js'
import { withFileFailure } from '../core/file-failure.js'
import type { Finding } from '../core/provider.js'

/**
 * Beginnings of the ids of findings of `doctor` that explain an OpsError, by error code, the likeliest first. No
 * finding explains a code that is missing here.
 */
export const explanations: Readonly<Record<string, readonly string[]>> = {
  NOT_INSTALLED: ['programs.'],
  LIBVIRT_DAEMON: ['libvirt.daemon', 'programs.guests'],
  LIBVIRT: ['libvirt.daemon', 'libvirt.emulator', 'state.space'],
  PROVIDER: ['libvirt.daemon', 'libvirt.emulator', 'programs.guests'],
  IMAGE_BUILD: ['programs.images', 'namespaces.', 'state.space'],
  DOWNLOAD: ['state.space'],
  NIX: ['programs.nix', 'nix.store', 'namespaces.user', 'state.space'],
  BUILD: ['nix.store', 'namespaces.user', 'state.space'],
  COPY: ['programs.nix', 'nix.store', 'state.space'],
  DISK_FULL: ['state.space'],
  STATE_DAMAGED: ['state.folder', 'state.space'],
  SSH_CONFIG: ['ssh.config'],
  UNREACHABLE: ['ssh.agent'],
}

/** Deadline for inspecting this host, which must not keep the user from reading the error. */
const lookMs = 20_000

/** Returns the same error; if this host is the cause, its hint names the fault and the repair. */
export async function explained(ops: Pick<Ops, 'doctor' | 'signal'>, thrown: unknown): Promise<unknown> {
  const error = withFileFailure(thrown)
  if (!(error instanceof OpsError) || !Object.hasOwn(explanations, error.code) || ops.signal.aborted)
    return error
  const finding = pointTo(await findingsOf(ops), error.code)
  if (finding === undefined || (finding.mend !== undefined && error.hint?.includes(finding.mend) === true))
    return error
  const { code, exitCode, message, machine, detail, cause } = error
  return new OpsError(code, exitCode, message, {
    hint: [error.hint, `hydra-ops doctor says: ${sentence(finding)}`].filter(Boolean).join('\n'),
    ...(machine === undefined ? {} : { machine }),
    ...(detail === undefined ? {} : { detail }),
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Findings of this run, read once, however many machines fail. */
const looks = new WeakMap<object, Promise<readonly Finding[]>>()

function findingsOf(ops: Pick<Ops, 'doctor' | 'signal'>): Promise<readonly Finding[]> {
  const known = looks.get(ops)
  if (known !== undefined) return known
  const look = withinDeadline(ops.signal, lookMs, ({ signal }) =>
    ops.doctor({ signal, log: () => {} }),
  ).catch(() => [])
  looks.set(ops, look)
  return look
}

/** Picks the finding that explains a failure: the first problem, else the first finding worth a note. */
export function pointTo(findings: readonly Finding[], code: string): Finding | undefined {
  const wanted = explanations[code] ?? []
  const fitting = wanted.flatMap((start) => findings.filter((finding) => finding.id.startsWith(start)))
  return (
    fitting.find((finding) => finding.level === 'problem') ??
    fitting.find((finding) => finding.level === 'note')
  )
}

function sentence(finding: Finding): string {
  return finding.mend === undefined ? finding.what : `${finding.what}; mended by: ${finding.mend}`
}
