import type { Finding } from '../core/provider.js'

/**
 * Which findings explain which error: code of an OpsError → beginnings of finding ids, the likeliest first.
 * A code that is not here has no finding that could explain it.
 */
const explanations: Readonly<Record<string, readonly string[]>> = {
  NOT_INSTALLED: ['programs.'],
  NIX: ['programs.nix', 'nix.store', 'namespaces.user', 'state.space'],
  BUILD: ['nix.store', 'namespaces.user', 'state.space'],
  DISK_FULL: ['state.space'],
  STATE_DAMAGED: ['state.folder', 'state.space'],
  UNREACHABLE: ['ssh.agent', 'kvm'],
}

/** The finding that explains a failing step: the first that is a problem, else the first worth a note. */
export function pointTo(findings: readonly Finding[], code: string): Finding | undefined {
  const wanted = explanations[code] ?? []
  const fitting = wanted.flatMap((start) => findings.filter((finding) => finding.id.startsWith(start)))
  return (
    fitting.find((finding) => finding.level === 'problem') ??
    fitting.find((finding) => finding.level === 'note')
  )
}
