import { failure } from '../../core/errors.js'
import type { MachineSession } from '../../machine/machine.js'
import type { Survey, System, SystemLook } from '../system.js'
import { activateSystem, reattach } from './activation.js'
import { ownerFile } from './places.js'
import { surveyNixos } from './survey.js'

/** NixOS: the closure is the whole system, so nothing is installed beside it. */
export const nixos: System = {
  ownerFile,
  survey: async (host, run) => (await surveyNixos(host, run)).survey,
  refuseOther,
  async look(host, _definition, _tasks, run): Promise<SystemLook> {
    const { survey } = await surveyNixos(host, run)
    return { survey, missing: [], items: [], dropped: [], bootstrap: async () => false }
  },
  planUnseen: () => [],
  contents: () => ({ files: {}, units: {} }),
  goesBack: true,
  activate: activateSystem,
  reattach,
  // An activation of NixOS removes nothing that a set-up task wrote: tasks write below /var.
  undoes: () => false,
}

function refuseOther({ machine }: MachineSession, { systems, facts }: Survey): void {
  if (systems.includes('nixos')) return
  const [id = 'unknown'] = systems
  throw failure(
    'SYSTEM',
    `machine '${machine}' runs ${facts.osRelease ?? id} (ID=${id} in /etc/os-release), not NixOS; it was not touched`,
    {
      machine,
      hint: 'for Debian or Ubuntu, set deployment.os = "debian"; hydra-ops installs no NixOS on a host that exists',
    },
  )
}
