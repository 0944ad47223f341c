import { readSamples, type ServiceSample } from './services.js'

/** Files that an activation leaves in its folder, each written by one rename. */
export type RunFile =
  | 'old'
  | 'armed'
  | 'abandoned'
  | 'confirmed'
  | 'fired'
  | 'ended'
  | 'watched'
  | 'settled'
  | 'kept'
  | 'prepared'
  | 'guard-result'

/** State of an activation, as the machine reports it (target/nixos/follow.sh). */
export interface SwitchState {
  readonly files: ReadonlyMap<string, string>
  readonly unit: 'running' | 'ended' | 'gone'
  readonly before: readonly ServiceSample[]
  readonly samples: readonly ServiceSample[]
  readonly bootId: string
  /** System that runs. */
  readonly current: string
  readonly profile: string
}

/** Reads the output of the `follow` script; returns `undefined` if the time ended before the awaited file appeared. */
export function readSwitchState(
  stdout: string,
  { unit, bootId }: { readonly unit: string; readonly bootId: string },
  awaited: RunFile,
): SwitchState | undefined {
  const lines = stdout.split('\n')
  const files = new Map(
    after(lines, 'file ').map((text) => {
      const [name = '', ...rest] = text.split(' ')
      return [name, rest.join(' ')] as const
    }),
  )
  const state: SwitchState = {
    files,
    unit: unitState(after(lines, 'state '), unit),
    before: readSamples(after(lines, 'before ')),
    samples: readSamples(after(lines, 'sample ')),
    bootId: after(lines, 'boot ')[0] ?? '',
    current: after(lines, 'current ')[0] ?? '',
    profile: after(lines, 'profile ')[0] ?? '',
  }
  const ended =
    awaited === 'guard-result' ? files.has('fired') : files.has('fired') || state.unit !== 'running'
  return ended || files.has(awaited) || state.bootId !== bootId ? state : undefined
}

/**
 * Reads the unit's state. systemd reports success even for a unit that is gone, so the state counts only if the unit is
 * loaded.
 */
function unitState(lines: readonly string[], unit: string): SwitchState['unit'] {
  const shown = new Map(
    lines.flatMap((line) => {
      const at = line.indexOf('=')
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    }),
  )
  if (shown.size === 0) return 'running'
  if (shown.get('LoadState') !== 'loaded' || shown.get('Id') !== unit) return 'gone'
  const active = shown.get('ActiveState')
  if (active === 'inactive' || active === 'failed') return 'ended'
  return active === 'active' && shown.get('SubState') === 'exited' ? 'ended' : 'running'
}

function after(lines: readonly string[], prefix: string): string[] {
  return lines.flatMap((line) => (line.startsWith(prefix) ? [line.slice(prefix.length)] : []))
}
