import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops } from '../core/context.js'
import { withinDeadline } from '../core/deadline.js'
import { OpsError } from '../core/errors.js'
import { withFileFailure } from '../core/file-failure.js'
import type { Finding } from '../core/provider.js'

/**
 * Prefixes of the ids of `doctor` findings that may explain an OpsError, by error code, the likeliest first. A provider
 * explains its own errors (`Provider.explanations`). A code without an entry has no explanation.
 */
export const explanations: Readonly<Record<string, readonly string[]>> = {
  NOT_INSTALLED: ['programs.'],
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

/** Deadline for the inspection of this host, which must not delay the error for long. */
const lookMs = 20_000

interface Host extends Pick<Ops, 'doctor' | 'signal'> {
  readonly providers: { all(): readonly Pick<AnyProvider, 'name' | 'explanations'>[] }
}

/**
 * Returns the error. If this host is the cause, a hint names the fault and the repair. `provider` is the name of the
 * machine's provider; every provider may explain the error if the name is absent.
 */
export async function explained(ops: Host, thrown: unknown, provider?: string): Promise<unknown> {
  const error = withFileFailure(thrown)
  if (!(error instanceof OpsError) || ops.signal.aborted) return error
  const wanted = explanationsOf(ops, error.code, provider)
  if (wanted.length === 0) return error
  const finding = pointTo(await findingsOf(ops), wanted)
  if (finding === undefined || (finding.mend !== undefined && error.hint?.includes(finding.mend) === true))
    return error
  const { code, exitCode, message, machine, detail, cause } = error
  return new OpsError(code, exitCode, message, {
    hint: [error.hint, `hydra-ops doctor reports: ${sentence(finding)}`].filter(Boolean).join('\n'),
    ...(machine === undefined ? {} : { machine }),
    ...(detail === undefined ? {} : { detail }),
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Lists the prefixes of the ids of findings that explain a code: those of the providers, then hydra-ops's own. */
function explanationsOf({ providers }: Host, code: string, provider: string | undefined): string[] {
  const asked = providers.all().filter(({ name }) => provider === undefined || name === provider)
  const known = [...asked.map((each) => each.explanations), explanations]
  return known.flatMap((each) => (each !== undefined && Object.hasOwn(each, code) ? (each[code] ?? []) : []))
}

/** Findings of this run, collected once, even if many machines fail. */
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

/**
 * Chooses the finding that explains a failure, by the prefix of its id. The first problem wins, or else the first note.
 */
export function pointTo(findings: readonly Finding[], wanted: readonly string[]): Finding | undefined {
  const fitting = wanted.flatMap((start) => findings.filter((finding) => finding.id.startsWith(start)))
  return (
    fitting.find((finding) => finding.level === 'problem') ??
    fitting.find((finding) => finding.level === 'note')
  )
}

function sentence(finding: Finding): string {
  return finding.mend === undefined ? finding.what : `${finding.what}; to fix this: ${finding.mend}`
}
