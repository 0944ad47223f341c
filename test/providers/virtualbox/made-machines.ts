import type { VirtualBoxHandle } from '../../../providers/virtualbox/config.js'
import { type MachineFacts, parseMachine } from '../../../providers/virtualbox/machine-facts.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import type { Session } from './session.js'

export type Made = VirtualBoxResource & { handle: VirtualBoxHandle }

/** Returns short functions that call a session's provider, for machines with the same options. */
export function machinesOf(current: () => Session, options: object = {}) {
  const reconcile = async (resource: VirtualBoxResource, allowRecreate = false): Promise<Made> => {
    const { provider, run } = current()
    const how = { allowRestart: true, allowRecreate, checkpoint: async () => {} }
    return { ...resource, handle: await provider.reconcile(resource, how, run) }
  }
  return {
    reconcile,
    make: async (config: object = {}) => reconcile(await current().makeResource({ ...options, ...config })),
    facts: async ({ handle }: Made): Promise<MachineFacts> =>
      parseMachine(await current().vbox('showvminfo', handle.uuid, '--machinereadable')),
    plan: (made: VirtualBoxResource) => current().provider.plan(made, current().run),
    start: async (made: Made): Promise<Made> => {
      const allocation = await current().provider.start(made, current().run)
      return allocation === undefined ? made : { ...made, allocation }
    },
    seen: (made: VirtualBoxResource) => current().provider.inspect(made, current().run),
    stop: (made: Made) => current().provider.stop(made, { graceMs: 2_000 }, current().run),
    destroy: (made: VirtualBoxResource) => current().provider.destroy(made, current().run),
  }
}

/** A VBoxManage under test, with a function that opens a session and the options that its machines need. */
export interface Subject {
  readonly name: string
  open(): Promise<OpenedSubject>
  readonly options?: object
}

export interface OpenedSubject {
  readonly session: Session
  /** Makes VirtualBox forget the settings in its memory, so that the next call reads their files. */
  forgotten(): Promise<void>
  dispose(): Promise<void>
}
