import { join } from 'node:path'
import type { LocalCommands } from '../../src/core/context.js'
import { packageRoot } from '../../src/core/package-root.js'
import type { Provider } from '../../src/core/provider.js'
import { forwardedTarget } from '../common/guest.js'
import { labelledRoot } from '../common/labelled-root.js'
import { shortName } from '../common/names.js'
import { ports, publishedPort, publishedUrls } from '../common/ports.js'
import { allocate } from './allocation.js'
import {
  imageReference,
  optionKey,
  ownedPlaces,
  portOption,
  VirtualBoxAllocation,
  VirtualBoxConfig,
  VirtualBoxHandle,
} from './config.js'
import type { VirtualBoxParts } from './places.js'

export interface VirtualBoxProviderParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** The VBoxManage program; by default the program of that name on the PATH. */
  readonly program?: string | undefined
  readonly hostRoot?: string
  readonly uid?: number | undefined
}

type VirtualBoxProvider = Provider<VirtualBoxConfig, VirtualBoxAllocation, VirtualBoxHandle>

/**
 * Creates the provider for VirtualBox. Every command loads this file. The code for VBoxManage is loaded on the first
 * operation on such a machine.
 */
export function createVirtualBoxProvider(given: VirtualBoxProviderParts): VirtualBoxProvider {
  const parts: VirtualBoxParts = {
    local: given.local,
    program: given.program ?? 'VBoxManage',
    hostRoot: given.hostRoot ?? '/',
    uid: 'uid' in given ? given.uid : process.getuid?.(),
  }
  return {
    name: 'virtualbox',
    targetEnvs: ['virtualbox'],
    optionKey,
    optionsNix: join(packageRoot(), 'providers', 'virtualbox', 'options.nix'),
    configSchema: VirtualBoxConfig,
    allocationSchema: VirtualBoxAllocation,
    handleSchema: VirtualBoxHandle,
    portOption,
    explanations: {
      VIRTUALBOX: ['virtualbox.'],
      PROVIDER: ['virtualbox.'],
    },
    makesMachines: true,

    imageReference,
    imageId: (handle) => handle.image.id,
    allocate,
    ownedPlaces,
    ports,
    physical: ({ lan }) => ({
      ...(lan === null ? {} : { privateIPv4: lan.address }),
      disk: { boot: '/dev/sda', ...labelledRoot },
    }),
    publishedUrls: (_config, allocation) => publishedUrls(allocation),
    publishedPort,

    inspect: async (resource, run) => (await import('./look.js')).inspect(parts, resource, run),
    plan: async (resource, run) => (await import('./changes.js')).planChanges(parts, resource, run),
    reconcile: async (resource, options, run) =>
      (await import('./provision.js')).reconcile(parts, resource, options, run),
    start: async (resource, run, takenPorts) =>
      (await import('./power.js')).startMachine(parts, resource, run, takenPorts),
    stop: async (resource, { graceMs }, run) =>
      (await import('./power.js')).stopMachine(parts, resource, graceMs, run),
    destroy: async (resource, run) => (await import('./destroy.js')).destroyMachine(parts, resource, run),

    target: async (resource) => forwardedTarget(resource),
    resourceId: ({ deployment, machine }) => shortName(deployment.uuid, machine),

    listOwned: async (run) => (await import('./owned.js')).listOwned(parts, run),
    console: {
      // VirtualBox writes the serial port to a file, so that no boot output is lost. A file takes no input.
      command: async (resource) => ['tail', '-n', '+1', '-F', resource.console],
      logFile: (resource) => resource.console,
    },
    snapshots: {
      list: async (resource, run) => (await import('./snapshots.js')).listSnapshots(parts, resource, run),
      create: async (resource, wanted, run) =>
        (await import('./snapshots.js')).createSnapshot(parts, resource, wanted, run),
      losses: async (resource, name, run) =>
        (await import('./snapshots.js')).restoreLosses(parts, resource, name, run),
      restore: async (resource, name, run) =>
        (await import('./snapshots.js')).restoreSnapshot(parts, resource, name, run),
      delete: async (resource, name, run) =>
        (await import('./snapshots.js')).deleteSnapshot(parts, resource, name, run),
    },
    doctor: async (run) => (await import('./doctor.js')).doctor(parts, run),
  }
}
