import { join } from 'node:path'
import type { LocalCommands } from '../../src/core/context.js'
import { packageRoot } from '../../src/core/package-root.js'
import type { Provider } from '../../src/core/provider.js'
import { forwardedTarget } from '../common/guest.js'
import { labelledRoot, virtioDrivers } from '../common/labelled-root.js'
import { shortName } from '../common/names.js'
import { ports, publishedPort, publishedUrls } from '../common/ports.js'
import { allocate } from './allocation.js'
import { refuseMissingBridges } from './bridges.js'
import {
  imageReference,
  LibvirtAllocation,
  LibvirtConfig,
  LibvirtHandle,
  optionKey,
  ownedPlaces,
  portOption,
} from './config.js'
import { onceTried } from './kvm.js'
import { type LibvirtParts, type LibvirtResource, placesOf } from './places.js'

export interface LibvirtProviderParts {
  readonly local: Pick<LocalCommands, 'run'>
  readonly uid?: number | undefined
  readonly systemRoot?: string
  /** The kernel's folder of network interfaces. */
  readonly interfaces?: string
  readonly kvm?: LibvirtParts['kvm']
}

type LibvirtProvider = Provider<LibvirtConfig, LibvirtAllocation, LibvirtHandle>

/**
 * Creates the provider for libvirt and QEMU. Every command loads this file. The code for libvirt, with the XML
 * library, is loaded when a command first works on such a machine.
 */
export function createLibvirtProvider(given: LibvirtProviderParts): LibvirtProvider {
  const parts: LibvirtParts = {
    local: given.local,
    uid: 'uid' in given ? given.uid : process.getuid?.(),
    systemRoot: given.systemRoot ?? '/var/lib/libvirt/hydra-ops',
    interfaces: given.interfaces ?? '/sys/class/net',
    kvm: given.kvm ?? onceTried(async (run) => (await import('./kvm.js')).tryKvm(given.local, run)),
  }
  return {
    name: 'libvirt',
    targetEnvs: ['libvirtd', 'libvirt'],
    optionKey,
    optionsNix: join(packageRoot(), 'providers', 'libvirt', 'options.nix'),
    configSchema: LibvirtConfig,
    allocationSchema: LibvirtAllocation,
    handleSchema: LibvirtHandle,
    portOption,
    explanations: {
      LIBVIRT_DAEMON: ['libvirt.daemon', 'programs.guests'],
      LIBVIRT: ['libvirt.daemon', 'libvirt.emulator', 'state.space'],
      PROVIDER: ['libvirt.daemon', 'libvirt.emulator', 'programs.guests'],
    },
    makesMachines: true,

    imageReference,
    imageId: (handle) => handle.image.id,
    allocate: async (request) => {
      // The check precedes the allocation with its stored MAC address; each plan repeats it, because a bridge may
      // disappear later.
      refuseMissingBridges(request.machine, request.config.networks, parts.interfaces)
      return await allocate(request)
    },
    ownedPlaces,
    ports,
    physical: ({ lan }) => ({
      ...(lan === null ? {} : { privateIPv4: lan.address }),
      disk: { boot: '/dev/vda', ...labelledRoot, drivers: virtioDrivers },
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
      command: async (resource) => consoleCommand(parts, resource),
      logFile: (resource) => resource.console,
    },
    snapshots: {
      list: async (resource, run) => (await import('./snapshots.js')).listSnapshots(parts, resource, run),
      create: async (resource, wanted, run) =>
        (await import('./snapshots.js')).createSnapshot(parts, resource, wanted, run),
      losses: async (resource, name, run) =>
        (await import('./snapshots.js')).restoreLosses(parts, resource, name, run),
      restore: async (resource, name, run, takenPorts) =>
        (await import('./snapshots.js')).restoreSnapshot(parts, resource, name, run, takenPorts),
      delete: async (resource, name, run) =>
        (await import('./snapshots.js')).deleteSnapshot(parts, resource, name, run),
    },
    doctor: async (run) => (await import('./doctor.js')).doctor(parts, run),
  }
}

function consoleCommand(parts: LibvirtParts, resource: LibvirtResource): string[] {
  return ['virsh', '-c', placesOf(parts, resource).uri, 'console', resource.name]
}
