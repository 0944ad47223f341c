import type { AnyProvider } from '../core/bind-provider.js'
import type { LocalCommands } from '../core/context.js'
import { messageOf, throwIfAborted } from '../core/errors.js'
import type { Nix } from '../core/nix.js'
import type { Finding } from '../core/provider.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { HostProbe } from './host-probe.js'
import { createLocalProbe } from './local-probe.js'
import { checkNixStore, checkNixUsers } from './nix-store.js'
import { checkNodeVersion } from './node-version.js'
import { checkPrograms } from './programs.js'
import { checkSshAgent } from './ssh-agent.js'
import { checkFreeSpace, checkStateFolder } from './state-folder.js'
import { checkSubordinateIds, checkUserNamespaces } from './user-namespaces.js'

type ExaminedProvider = Pick<AnyProvider, 'name' | 'doctor'>

export interface DoctorParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** The state folder. */
  readonly root: string
  readonly providers: { all(): readonly ExaminedProvider[] }
  readonly nix: Pick<Nix, 'describeStore'>
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Creates the checks of this operator host; the checks only read. */
export function createDoctor(
  parts: DoctorParts,
  probeOf: (run: Run) => HostProbe = (run) => createLocalProbe(parts.local, parts.env, run),
): (run: Run) => Promise<Finding[]> {
  return async (run) => {
    const host = probeOf(run)
    const findings = await settleAll([
      now(() => checkNodeVersion(host)),
      now(() => checkPrograms(host)),
      checkUserNamespaces(host),
      now(() => checkSubordinateIds(host)),
      checkNixStore(parts.nix),
      now(() => checkNixUsers(host)),
      now(() => checkStateFolder(host, parts.root)),
      now(() => checkFreeSpace(host, parts.root)),
      checkSshAgent(host),
      ...parts.providers.all().map((provider) => askProvider(provider, run)),
    ])
    return findings.flat()
  }
}

async function now<T>(check: () => T): Promise<T> {
  return check()
}

/** Examines the host for a provider; a failed examination must not hide the other findings. */
async function askProvider(provider: ExaminedProvider, run: Run): Promise<Finding[]> {
  try {
    return (await provider.doctor?.(run)) ?? []
  } catch (error) {
    throwIfAborted(run.signal)
    return [{ id: provider.name, level: 'problem', what: `provider ${provider.name}: ${messageOf(error)}` }]
  }
}
