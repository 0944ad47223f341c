import { join } from 'node:path'
import { failure, messageOf, OpsError, unreachable } from '../../src/core/errors.js'
import { packageRoot } from '../../src/core/package-root.js'
import type { Provider } from '../../src/core/provider.js'
import type { Ssh } from '../../src/core/ssh.js'
import {
  type SshAllocation,
  type SshConfig,
  type SshHandle,
  sshAllocation,
  sshConfig,
  sshHandle,
} from './config.js'
import { doctor } from './doctor.js'
import { targetOf } from './target.js'

/** Deadline of one look at a running host; it leaves time for a slow name server or a sleeping disk. */
const lookMs = 5_000

type SshLayer = Pick<Ssh, 'resolveUserConfig' | 'waitForBanner'>

/** Creates the provider for existing hosts, which are never made, started, stopped or destroyed. */
export function createSshProvider({ ssh }: { ssh: SshLayer }): Provider<SshConfig, SshAllocation, SshHandle> {
  return {
    name: 'ssh',
    targetEnvs: ['none', 'ssh'],
    optionKey: undefined,
    optionsNix: join(packageRoot(), 'providers', 'ssh', 'options.nix'),
    configSchema: sshConfig,
    allocationSchema: sshAllocation,
    handleSchema: sshHandle,
    makesMachines: false,

    imageReference: () => undefined,
    imageId: () => undefined,
    allocate: async () => ({}),
    ports: () => [],
    physical: () => ({}),
    publishedUrls: () => [],

    async inspect(resource, run) {
      try {
        const target = await targetOf(resource, ssh, run)
        await ssh.waitForBanner(target, { signal: run.signal, timeoutMs: lookMs })
        return { kind: 'running' }
      } catch (error) {
        if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
        return { kind: 'unknown', reason: messageOf(error) }
      }
    },

    plan: async () => [],
    reconcile: async (_resource, options) => {
      await options.checkpoint({})
      return {}
    },

    async start(resource, run) {
      const { machine } = resource
      const target = await targetOf(resource, ssh, run)
      try {
        await ssh.waitForBanner(target, { signal: run.signal, timeoutMs: lookMs })
      } catch (error) {
        if (!(error instanceof OpsError) || error.code !== 'UNREACHABLE') throw error
        throw unreachable(machine, error.message, {
          hint: `machine '${machine}' is an existing host (provider ssh); hydra-ops cannot switch it on`,
          cause: error,
        })
      }
      return undefined
    },

    async stop({ machine }) {
      throw failure(
        'NOT_OURS',
        `machine '${machine}' is an existing host (provider ssh); hydra-ops does not stop it, because hydra-ops could not start it again`,
        { machine, hint: `hydra-ops ssh ${machine} -- systemctl poweroff switches the host off` },
      )
    },

    destroy: async () => {},
    target: (resource, run) => targetOf(resource, ssh, run),
    resourceId: ({ machine, target }) => target.host ?? machine,
    doctor: (run) => doctor(ssh, run),
  }
}
