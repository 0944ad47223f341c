import { judgeServices } from './services.js'
import type { SwitchState } from './switch-state.js'

/** Judgement of a run of switch-to-configuration, which decides the next step. */
export type Verdict =
  /** The new system runs, and nothing is wrong. */
  | { readonly kind: 'good'; readonly notes: readonly string[] }
  /** The new system runs, but something in it is wrong. */
  | {
      readonly kind: 'degraded'
      readonly why: string
      readonly units: readonly string[]
      readonly notes: readonly string[]
    }
  /** Nothing was touched, because only a boot can enter the new system. */
  | { readonly kind: 'boot' }
  /** The old system must be activated again. */
  | { readonly kind: 'back'; readonly why: string }
  /** Nothing was touched, because another switch is running on the machine. */
  | { readonly kind: 'busy'; readonly why: string }
  /** The guard has gone back to the old system, or is doing so now. */
  | { readonly kind: 'fired' }
  /** A reboot or a removal of the unit ended the activation. */
  | { readonly kind: 'lost'; readonly why: string }

/** Line in which switch-to-configuration lists the failed units. */
const failedLine = /^warning: the following units failed: (.+)$/

/** Name of a D-Bus error; switch-to-configuration talks to systemd over D-Bus. */
const busError = /\borg\.freedesktop\.DBus\.Error\.\w+/

/**
 * Judges a run by its exit status and by the system that runs afterwards; neither suffices alone. An activation that
 * calls `exit` leaves the old system with status 4. A crash loop ends with status 0.
 */
export function judgeSwitch(
  state: SwitchState,
  activation: { readonly path: string; readonly bootId: string },
  log: readonly string[],
): Verdict {
  // This check comes before the boot id, because the guard may have rebooted the machine.
  if (state.files.has('fired')) return { kind: 'fired' }
  if (state.bootId !== activation.bootId)
    return { kind: 'lost', why: 'the machine was restarted during the activation' }
  const ended = state.files.get('ended')
  if (ended === undefined) return withoutEnd(state)
  const code = Number(ended)
  const isNew = state.current === activation.path
  const said = `switch-to-configuration ended with status ${code}`
  if (code === 100 && !isNew) return { kind: 'boot' }
  if (code === 11 && !isNew)
    return { kind: 'busy', why: `${said}: another switch holds the lock of the machine` }
  if (code !== 0 && code !== 4 && code !== 100) return { kind: 'back', why: `${said}${meaning(code, log)}` }
  if (!isNew)
    return { kind: 'back', why: `${said}, but the machine runs ${state.current || 'no known system'}` }
  return judgeNew(state, code, log)
}

const meanings = new Map([
  [1, ': it failed before or during the activation'],
  [2, ': an activation script failed'],
  [3, ': systemd could not be reloaded'],
])

/**
 * Returns the meaning of a status. A switch in Perl that dies exits with the error number of its last failed system
 * call. The number is arbitrary, so a D-Bus error in the log is better evidence than the status.
 */
function meaning(code: number, log: readonly string[]): string {
  if (
    !log.some((line) => line.startsWith('Activation script snippet ')) &&
    log.some((line) => busError.test(line))
  )
    return ": the machine's message bus (D-Bus) did not answer"
  return meanings.get(code) ?? ''
}

function withoutEnd(state: SwitchState): Verdict {
  if (state.unit === 'gone' && !state.files.has('armed'))
    return { kind: 'lost', why: 'the unit of the activation no longer exists' }
  return { kind: 'back', why: 'switch-to-configuration was killed' }
}

function judgeNew(state: SwitchState, code: number, log: readonly string[]): Verdict {
  const { bad, notes } = judgeServices(state.before, state.samples)
  const named = log.flatMap((line) => failedLine.exec(line)?.[1]?.split(/,\s*/) ?? [])
  const units = [...new Set([...bad, ...(code === 4 ? named : [])])]
  if (units.length > 0) return { kind: 'degraded', why: `units failed: ${units.join(', ')}`, units, notes }
  if (code === 4) {
    // A failed reload leaves no unit in the failed state; the program's own lines show more.
    const why = 'switch-to-configuration ended with status 4, and no unit is failed: a reload may have failed'
    return { kind: 'degraded', why, units, notes }
  }
  return { kind: 'good', notes }
}
