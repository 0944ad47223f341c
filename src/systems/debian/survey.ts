import { debianProfile, ownerFile } from '../../core/machine-places.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import type { Survey } from '../system.js'

/**
 * Deadline for a survey. A running machine answers at once; a booting emulated guest on a busy host takes over a
 * minute.
 */
const surveyMs = 3 * 60_000

/** Reads the facts of a machine in one command. */
export async function surveyMachine(host: Host, run: Run): Promise<Survey> {
  return (await surveyDebian(host, run)).survey
}

interface DebianSurvey {
  readonly survey: Survey
  /** Packages that hydra-ops installed for `deployment.aptPackages`, according to the machine's own record. */
  readonly installedByUs: readonly string[]
}

/** Reads the facts of a machine, and the facts that only a Debian machine has. */
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
    // The survey does not start Nix, which would take a quarter of a look's time. Only the set-up task `nix` checks
    // Nix's version and whether Nix works.
    hasNix: facts.has('nix'),
    rebootReason: facts.has('reboot') ? 'reboot needed: /run/reboot-required exists' : undefined,
    facts: { osRelease: facts.get('os')?.[0], bootId, freeBytes: freeKiB * 1024 },
  }
  return { survey, installedByUs: fact(facts, 'apt').split(' ').filter(Boolean) }
}
