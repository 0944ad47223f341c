import { failure, type OpsError } from '../../core/errors.js'
import type { MachineSession } from '../../machine/machine.js'
import type { ActivationOptions } from '../system.js'
import type { NixosActivation } from './places.js'
import type { ServiceSample } from './services.js'
import type { SwitchState } from './switch-state.js'
import type { Verdict } from './verdict.js'

/** An activation in progress. */
export interface Going {
  readonly session: MachineSession
  readonly activation: NixosActivation
  /** System before the activation; `undefined` until the state of an earlier process's activation has been read. */
  readonly old: string | undefined
  readonly options: ActivationOptions
  /** Services before the switch, if the samples in the activation's folder are not the right comparison. */
  readonly before: readonly ServiceSample[] | undefined
  readonly progress: {
    /** Number of log lines that have been shown. */
    lines: number
    /** Error of the last failed login. */
    trouble: string | undefined
  }
}

/** End of an activation that counts as an error. */
export type BadEnd =
  | Verdict
  | { readonly kind: 'undone'; readonly why: string; readonly state: SwitchState }
  | { readonly kind: 'unknown'; readonly why: string; readonly state: SwitchState }
  | { readonly kind: 'unkept'; readonly result: string | undefined }

/** Builds the error for an activation that ended badly. */
export function endOf(going: Going, end: BadEnd, log: readonly string[]): OpsError {
  const { machine } = going.session
  const facts = { machine, detail: log.join('\n') }
  switch (end.kind) {
    case 'undone':
      return undone(going, end, facts)
    case 'degraded':
      return degraded(going, end, facts)
    case 'busy':
      return failure('BUSY', `machine '${machine}': nothing was switched: ${end.why}`, {
        ...facts,
        hint: 'wait until that switch has ended, then deploy again',
      })
    case 'unkept':
      return failure(
        'ACTIVATION',
        `machine '${machine}': the new system runs, but it did not become the boot default (${parts(end.result)})`,
        {
          ...facts,
          hint: 'check that /boot has free space, then deploy again; a reboot starts the earlier system',
        },
      )
    default:
      return failure(
        'ACTIVATION_UNKNOWN',
        `machine '${machine}': the result of the activation is lost${'why' in end ? `: ${end.why}` : ''}${runs(end)}`,
        { ...facts, hint: 'deploy again; each deploy looks at the machine first' },
      )
  }
}

type Facts = { readonly machine: string; readonly detail: string }

function undone(going: Going, end: Extract<BadEnd, { kind: 'undone' }>, facts: Facts): OpsError {
  const { machine } = facts
  const [outcome = 'unknown', code = '?'] = (end.state.files.get('guard-result') ?? '').split(' ')
  const back = end.state.current === going.old
  const way = outcome === 'reboot' ? ' by rebooting' : ''
  if (back) {
    const also =
      code === '0' || code === '100' ? '' : ` (the activation of the old system ended with status ${code})`
    return failure('WENT_BACK', `machine '${machine}' went back to its old system${way}${also}: ${end.why}`, {
      ...facts,
      hint: `hydra-ops logs ${machine}`,
    })
  }
  return failure(
    'WENT_BACK',
    `machine '${machine}' tried to go back to its old system${way}, but runs ${end.state.current || 'no known system'}: ${end.why}`,
    { ...facts, hint: `hydra-ops ssh ${machine} -- systemctl --failed` },
  )
}

function degraded(going: Going, end: Extract<BadEnd, { kind: 'degraded' }>, facts: Facts): OpsError {
  const { machine } = facts
  const kept = going.options.onDegraded === 'keep'
  const boot = kept ? 'it is the boot default too' : `the boot default stays ${going.old ?? 'the old one'}`
  const [unit] = end.units
  return failure('UNITS_FAILED', `machine '${machine}' runs the new system, but ${end.why}; ${boot}`, {
    ...facts,
    detail: [...end.notes, facts.detail].join('\n'),
    hint:
      unit === undefined
        ? `hydra-ops logs ${machine}`
        : `hydra-ops ssh ${machine} -- journalctl -n 50 -u ${unit}`,
  })
}

function parts(result: string | undefined): string {
  if (result === undefined) return 'its unit ended without a result'
  const [set = '?', boot = '-'] = result.split(' ')
  return set === '0' ? `the boot menu: status ${boot}` : `the profile: status ${set}`
}

function runs(end: BadEnd): string {
  return 'state' in end ? `; the machine runs ${end.state.current || 'no known system'}` : ''
}
