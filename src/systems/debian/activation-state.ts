import * as z from 'zod'

/** State of an activation, as the machine reports it. */
export type ActivationState =
  | { readonly kind: 'running' }
  | { readonly kind: 'ended'; readonly code: number; readonly units: readonly string[] }
  | { readonly kind: 'unknown'; readonly why: string }

/** CLD_EXITED of siginfo, as systemd's ExecMainCode shows it. */
const exited = '1'

const ResultRecord = z.tuple([z.literal('result'), z.string(), z.string(), z.string()], z.string())

/** Reads the state of an activation from the output of `debian/follow-activation`. */
export function readActivation(
  stdout: string,
  activation: { readonly unit: string; readonly path: string; readonly bootId: string },
): ActivationState {
  const record = recordOf(withPrefix(stdout, 'record '), activation)
  const shown = properties(withPrefix(stdout, 'state '))
  // Only the state of this very unit counts: systemd reports "success" for a unit that is gone (measured).
  if (shown.get('LoadState') === 'loaded' && shown.get('Id') === activation.unit) {
    const active = shown.get('ActiveState')
    const status = Number(shown.get('ExecMainStatus'))
    const ended = shown.get('ExecMainCode') === exited
    if (active === 'active' && shown.get('SubState') === 'exited' && ended) {
      return { kind: 'ended', code: status, units: [] }
    }
    if (active === 'failed') {
      const code = ended ? status : 128 + status
      return { kind: 'ended', code: code === 0 ? 1 : code, units: record?.units ?? [] }
    }
    if (active !== 'inactive') return { kind: 'running' }
  }
  if (record !== undefined) return { kind: 'ended', code: record.code, units: record.units }
  if (shown.size === 0) return { kind: 'running' }
  const boot = withPrefix(stdout, 'boot ')[0]
  const restarted = boot !== activation.bootId
  return {
    kind: 'unknown',
    why: restarted ? 'the machine was restarted meanwhile' : `its unit ${activation.unit} no longer exists`,
  }
}

/** Finds the activation's own record of its end, which outlives the unit and a reboot. */
function recordOf(
  lines: readonly string[],
  activation: { readonly unit: string; readonly path: string },
): { code: number; units: string[] } | undefined {
  for (const line of lines) {
    const parsed = ResultRecord.safeParse(json(line))
    if (!parsed.success) continue
    const [, unit, path, code, ...units] = parsed.data
    if (unit === activation.unit && path === activation.path) return { code: Number(code), units }
  }
  return undefined
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function properties(lines: readonly string[]): Map<string, string> {
  return new Map(
    lines.flatMap((line) => {
      const at = line.indexOf('=')
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    }),
  )
}

function withPrefix(text: string, prefix: string): string[] {
  return text.split('\n').flatMap((line) => (line.startsWith(prefix) ? [line.slice(prefix.length)] : []))
}
