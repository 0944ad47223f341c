import { afterAll, afterEach, beforeAll } from 'vitest'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import type { ResourceChange } from '../../../src/core/provider.js'
import { openSession, type Session } from './session.js'

export const carefully = { allowRestart: false, allowRecreate: false, checkpoint: async () => {} }

export interface MadeMachines {
  readonly session: Session
  /** Creates a machine that is removed after the test. */
  make(config?: object, overrides?: Partial<LibvirtResource>): Promise<LibvirtResource>
  /** Plans the same machine with other options; returns the changes of a deploy. */
  planned(
    resource: LibvirtResource,
    config: object,
  ): Promise<{ wanted: LibvirtResource; changes: ResourceChange[] }>
  /** Removes this resource too, after the test. */
  tidy(resource: LibvirtResource): void
}

/** Opens a real libvirt session for the tests of a file, and creates cheap machines. */
export function madeMachines(): MadeMachines {
  let session: Session | undefined
  const made: LibvirtResource[] = []
  const open = (): Session => {
    if (session === undefined) throw new Error('the session is open while a test runs')
    return session
  }
  beforeAll(async () => {
    session = await openSession()
  })
  afterEach(async () => {
    for (const resource of made.splice(0)) await open().provider.destroy(resource, open().run)
  })
  afterAll(() => open().dispose())
  return {
    get session() {
      return open()
    },
    make: async (config = {}, overrides = {}) => {
      const { provider, run, makeResource } = open()
      const resource = await makeResource({ baseImageSize: 1, ...config }, overrides)
      made.push(resource)
      return { ...resource, handle: await provider.reconcile(resource, carefully, run) }
    },
    planned: async (resource, config) => {
      const { provider, run } = open()
      const parsed = LibvirtConfig.parse({ ...resource.config, ...config })
      const allocation = await provider.allocate({
        deployment: resource.deployment.uuid,
        machine: resource.machine,
        index: resource.index,
        config: parsed,
        known: resource.allocation,
        takenPorts: new Set(),
        siblings: new Map(),
      })
      const wanted = { ...resource, config: parsed, allocation }
      return { wanted, changes: await provider.plan(wanted, run) }
    },
    tidy: (resource) => made.push(resource),
  }
}
