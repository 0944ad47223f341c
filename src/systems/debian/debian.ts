import { failure } from '../../core/errors.js'
import { ownerFile } from '../../core/machine-places.js'
import { settleAll } from '../../core/settle.js'
import { hostOf } from '../../machine/connect.js'
import { journal, type MachineSession } from '../../machine/machine.js'
import type { Survey, System, SystemLook } from '../system.js'
import { activateClosure, reattach } from './activation-stage.js'
import { debianDefinition } from './definition.js'
import { installPackages, missingPackages, planPackages, wantedPackages } from './packages.js'
import { surveyDebian, surveyMachine } from './survey.js'
import { undoes } from './undone.js'

/** Debian, Ubuntu and their derivatives: apt brings packages, a closure brings files, units and programs. */
export const debian: System = {
  ownerFile,
  survey: surveyMachine,
  refuseOther,
  async look(host, definition, tasks, run): Promise<SystemLook> {
    const machine = debianDefinition(definition)
    const packages = wantedPackages(machine, tasks)
    const [{ survey, installedByUs }, missing] = await settleAll([
      surveyDebian(host, run),
      missingPackages(host, packages, run),
    ])
    // The activation removes packages that hydra-ops installed for `deployment.aptPackages` and that it no longer
    // lists.
    const dropped = installedByUs.filter((name) => !packages.own.includes(name))
    return {
      survey,
      missing,
      items: planPackages('add', missing),
      dropped: planPackages('remove', dropped),
      async bootstrap(session) {
        await journal(session, 'packages.install', { data: [...missing] })
        const { aptProxy: proxy } = machine.options
        const installed = await installPackages(hostOf(session), packages, { proxy, run: session.run })
        return installed.length > 0
      },
    }
  },
  planUnseen(definition, deployed, wanted) {
    const { aptPackages } = debianDefinition(definition).options
    if (deployed !== undefined && deployed.path === wanted) return []
    const note = deployed === undefined ? undefined : 'if not installed yet'
    return planPackages('add', aptPackages).map((item) => ({ ...item, note }))
  },
  contents(definition) {
    const { files, units } = debianDefinition(definition)
    return { files: hashes(files), units: hashes(units) }
  },
  goesBack: false,
  activate: activateClosure,
  reattach,
  undoes,
}

const supported = new Set(['debian', 'ubuntu'])

function refuseOther({ machine }: MachineSession, { systems, facts }: Survey): void {
  if (systems.some((each) => supported.has(each))) return
  const [id = 'unknown'] = systems
  throw failure(
    'SYSTEM',
    `machine '${machine}' runs ${facts.osRelease ?? id} (ID=${id} in /etc/os-release), neither Debian nor Ubuntu; it was not touched`,
    {
      machine,
      hint: 'hydra-ops deploys to Debian, to Ubuntu, and to systems whose ID_LIKE names one of them',
    },
  )
}

/** Maps file paths or unit names to hashes, in the shape of the record. */
function hashes(entries: Readonly<Record<string, { readonly hash: string }>>): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, entry.hash]))
}
