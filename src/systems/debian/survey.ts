import type { MachineFacts } from '../../core/deployment.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'

/** What one look at a Debian machine tells. */
export interface Survey {
  readonly facts: MachineFacts
  readonly bootId: string
  /** ID of os-release and, after it, what it is like (os-release(5)): `raspbian`, `debian`. Empty = it says nothing. */
  readonly systems: readonly string[]
  /** The closure its profile points to. */
  readonly profile: string | undefined
  /** UUID of the deployment that was activated there last. */
  readonly owner: string | undefined
  readonly freeKiB: number
  readonly hasNix: boolean
  /** dpkg says that a reboot is wanted. */
  readonly rebootWanted: boolean
  /** Packages that we installed for `deployment.aptPackages`, as the machine has written down. */
  readonly aptInstalled: readonly string[]
}

/** Where the profile of a Debian machine lies. */
export const debianProfile = '/nix/var/nix/profiles/hydra-ops'

/** Written by the activation program, beside its record of what it did to the machine (nix/target/hydra-ops/state.pl). */
export const ownerFile = '/var/lib/hydra-ops/owner'

/** A blink on a machine that is up; an emulated guest that still boots, on a busy host, has needed over a minute. */
const surveyMs = 3 * 60_000

/** Reads the facts of a machine in one command. */
export async function surveyMachine(host: Host, run: Run): Promise<Survey> {
  const what = 'read the facts of the machine'
  const values = { profile: debianProfile, owner_file: ownerFile }
  const facts = await askMachine(host, { what, script: 'debian/survey', values, timeoutMs: surveyMs }, run)
  const bootId = fact(facts, 'boot_id')
  const freeKiB = Number(fact(facts, 'free_kib'))
  const owner = fact(facts, 'owner')
  const profile = fact(facts, 'profile')
  return {
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
    aptInstalled: fact(facts, 'apt').split(' ').filter(Boolean),
    facts: { osRelease: facts.get('os')?.[0], bootId, freeBytes: freeKiB * 1024 },
  }
}
