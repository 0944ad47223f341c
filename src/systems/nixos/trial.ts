import { failure } from '../../core/errors.js'
import { hostOf } from '../../machine/connect.js'
import { journal } from '../../machine/machine.js'
import { rebootMachine } from '../../machine/reboot.js'
import type { Trial } from '../system.js'
import { endOf, type Going } from './ends.js'
import { conclude, follow, goBack } from './guarded.js'
import { startKeep } from './steps.js'
import { surveyNixos } from './survey.js'

/** A confirmed NixOS system, with the activation that made it run. */
export class NixosTrial implements Trial {
  readonly going: Going
  /** Whether the machine was booted once into the system, so that a reboot leads back to the old system. */
  private readonly bootedOnce: boolean

  constructor(going: Going, bootedOnce = false) {
    this.going = going
    this.bootedOnce = bootedOnce
  }

  /** Makes the system the newest generation of the profile, then the boot default, in a separate unit. */
  async keep(): Promise<{ readonly rebootReason: string | undefined }> {
    const { session, activation, old } = this.going
    await startKeep(hostOf(session), activation, old ?? activation.path, session.run)
    const { state, log } = await follow(this.going, 'kept')
    const result = state.files.get('kept')
    const ok = result === '0 0'
    await journal(session, 'activate.kept', { result: ok ? 'done' : 'failed', data: result ?? null })
    await conclude(this.going, ok)
    if (!ok) throw endOf(this.going, { kind: 'unkept', result }, log)
    const { survey } = await surveyNixos(hostOf(session), session.run)
    return { rebootReason: survey.rebootReason }
  }

  leave(): Promise<void> {
    return conclude(this.going, false)
  }

  async goBack(why: string): Promise<never> {
    if (!this.bootedOnce) return goBack(this.going, why)
    const { session } = this.going
    await conclude(this.going, false)
    session.run.log(`${why}; going back by rebooting`)
    await rebootMachine(session)
    const { machine } = session
    throw failure('WENT_BACK', `machine '${machine}' went back to its old system by rebooting: ${why}`, {
      machine,
      hint: `hydra-ops logs ${machine}`,
    })
  }
}
