import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import type { Survey } from '../system.js'

/** Where the profile of a Debian machine lies. */
export const debianProfile = '/nix/var/nix/profiles/hydra-ops'

/** Written by the activation program, beside its record of what it did to the machine (nix/target/hydra-ops/state.pl). */
export const ownerFile = '/var/lib/hydra-ops/owner'

/** A blink on a machine that is up; an emulated guest that still boots, on a busy host, has needed over a minute. */
const surveyMs = 3 * 60_000

/** Reads the facts of a machine in one command. */
export async function surveyMachine(host: Host, run: Run): Promise<Survey> {
  return (await surveyDebian(host, run)).survey
}

interface DebianSurvey {
  readonly survey: Survey
  /** Packages that we installed for `deployment.aptPackages`, as the machine has written down. */
  readonly installedByUs: readonly string[]
}

/** Reads them with what only a Debian machine tells. */
export async function surveyDebian(host: Host, run: Run): Promise<DebianSurvey> {
  const what = 'read the facts of the machine'
  const values = { profile: debianProfile, owner_file: ownerFile }
  const facts = await askMachine(host, { what, script: 'debian/survey', values, timeoutMs: surveyMs }, run)
  const bootId = fact(facts, 'boot_id')
  const freeKiB = Number(fact(facts, 'free_kib'))
  const owner = fact(facts, 'owner')
  const profile = fact(facts, 'profile')
  const survey = {
    bootId,
    systems: fact(facts, 'systems')
      .split(' ')
      .filter((each) => each !== ''),
    profile: profile.startsWith('/nix/store/') ? profile : undefined,
    owner: owner === '' ? undefined : owner,
    freeKiB,
    // Does it work, and which one is it? The set-up task `nix` asks: to start it is a quarter of a look's time.
    hasNix: facts.has('nix'),
    rebootWanted: facts.has('reboot'),
    facts: { osRelease: facts.get('os')?.[0], bootId, freeBytes: freeKiB * 1024 },
  }
  return { survey, installedByUs: fact(facts, 'apt').split(' ').filter(Boolean) }
}
