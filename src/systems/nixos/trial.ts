import { hostOf } from '../../machine/connect.js'
import { journal } from '../../machine/machine.js'
import type { Trial } from '../system.js'
import { endOf, type Going } from './ends.js'
import { conclude, follow, goBack } from './guarded.js'
import { startKeep } from './steps.js'
import { surveyNixos } from './survey.js'

/** A confirmed system of NixOS, with the activation that made it run. */
export class NixosTrial implements Trial {
  readonly going: Going

  constructor(going: Going) {
    this.going = going
  }

  /** Makes the system the newest generation of the profile, then the boot default, in a unit of its own. */
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

  goBack(why: string): Promise<never> {
    return goBack(this.going, why)
  }
}
