import { join } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'
import type { Provider } from '../../src/core/provider.js'
import { SshAllocation, SshConfig, SshHandle } from './config.js'
import { rememberConfig } from './config-memory.js'
import { doctor } from './doctor.js'
import { inspect } from './look.js'
import { startMachine, stopMachine } from './power.js'
import { type SshLayer, targetOf } from './target.js'

type SshProvider = Provider<SshConfig, SshAllocation, SshHandle>

/** Creates the provider for existing hosts, which are never created, started, stopped or destroyed. */
export function createSshProvider({ ssh: layer }: { readonly ssh: SshLayer }): SshProvider {
  const ssh: SshLayer = {
    resolveUserConfig: rememberConfig((...question) => layer.resolveUserConfig(...question)),
    waitForBanner: (...wait) => layer.waitForBanner(...wait),
    showsKey: (...question) => layer.showsKey(...question),
  }
  return {
    name: 'ssh',
    targetEnvs: ['none', 'ssh'],
    optionKey: undefined,
    optionsNix: join(packageRoot(), 'providers', 'ssh', 'options.nix'),
    configSchema: SshConfig,
    allocationSchema: SshAllocation,
    handleSchema: SshHandle,
    makesMachines: false,

    imageReference: () => undefined,
    imageId: () => undefined,
    allocate: async () => ({}),
    ports: () => [],
    physical: () => ({}),
    publishedUrls: () => [],

    inspect: (resource, run) => inspect(ssh, resource, run),
    plan: async () => [],
    reconcile: async (_resource, options) => {
      await options.checkpoint({})
      return {}
    },
    start: (resource, run) => startMachine(ssh, resource, run),
    stop: (resource) => stopMachine(resource),
    destroy: async () => {},

    target: (resource, run) => targetOf(resource, ssh, run),
    resourceId: ({ machine, target }) => target.host ?? machine,

    doctor: (run) => doctor(ssh, run),
  }
}
