import { failure } from '../../core/errors.js'
import { ownerFile } from '../../core/machine-places.js'
import type { StorePath } from '../../core/names.js'
import type { PlanItem } from '../../core/plan.js'
import type { MachineSession } from '../../machine/machine.js'
import type { Comparison, Survey, System, SystemLook } from '../system.js'
import { activateSystem, reattach } from './activation.js'
import { compareSystems } from './compare.js'
import { statusOf } from './status.js'
import { type NixosSurvey, surveyNixos } from './survey.js'
import { readSystem } from './system-files.js'

/** NixOS: the closure is the whole system, so nothing is installed beside it. */
export const nixos: System = {
  ownerFile,
  survey: async (host, run) => (await surveyNixos(host, run)).survey,
  status: async (host, run) => statusOf(await surveyNixos(host, run, '', true)),
  refuseOther,
  async look(host, _definition, _tasks, run): Promise<SystemLook> {
    const seen = await surveyNixos(host, run)
    return {
      survey: seen.survey,
      missing: [],
      items: [],
      dropped: [],
      bootstrap: async () => false,
      compare: (session, wanted) => compareWith(session, seen, wanted),
    }
  },
  planUnseen: () => [],
  contents: () => ({ files: {}, units: {} }),
  goesBack: true,
  activate: activateSystem,
  reattach,
  // An activation of NixOS removes nothing that a set-up task wrote, because tasks write below /var.
  undoes: () => false,
}

/** Compares a system in the operator's store with the machine, and lists the remains of an interrupted switch. */
async function compareWith(
  { ops }: MachineSession,
  seen: NixosSurvey,
  wanted: StorePath,
): Promise<Comparison> {
  const folder = await ops.nix.folderOf(wanted)
  const { leftovers, menuPending, survey } = seen
  const mending = [
    ...(leftovers.length === 0 ? [] : [`an interrupted switch left ${leftovers.join(', ')}`]),
    ...(menuPending ? ['the boot menu may lack the newest system'] : []),
  ].map((detail): PlanItem => ({ subject: 'system', action: 'change', detail }))
  if (folder === undefined) return { items: mending, rebootReason: survey.rebootReason }
  const { older, rebootReason } = compareSystems(seen, await readSystem(folder), wanted)
  const items: PlanItem[] =
    older === undefined ? [] : [{ subject: 'closure', action: 'change', detail: older }]
  return { items: [...items, ...mending], rebootReason }
}

function refuseOther({ machine }: MachineSession, { systems, facts }: Survey): void {
  if (systems.includes('nixos')) return
  const [id = 'unknown'] = systems
  throw failure(
    'SYSTEM',
    `machine '${machine}' runs ${facts.osRelease ?? id} (ID=${id} in /etc/os-release), not NixOS; it was not touched`,
    {
      machine,
      hint: 'set deployment.os = "debian" for Debian or Ubuntu; hydra-ops does not install NixOS on an existing host',
    },
  )
}
