import type { MachineDefinition } from '../../core/definition.js'
import { failure } from '../../core/errors.js'
import { ownerFile } from '../../core/machine-places.js'
import { surveyMachine } from '../debian/survey.js'
import type { System } from '../system.js'

/**
 * A host where a user without root has Nix in the home directory. hydra-ops changes only this user's files, and
 * delivers no closure. The host therefore counts as having the wanted closure.
 */
export const home: System = {
  ownerFile,
  survey: surveyMachine,
  // The host may run any Linux.
  refuseOther: () => {},
  async look(host, definition, _tasks, run) {
    refuseContents(definition)
    const survey = await surveyMachine(host, run)
    return {
      survey: { ...survey, profile: definition.outPath, owner: undefined, rebootReason: undefined },
      missing: [],
      items: [],
      dropped: [],
      bootstrap: async () => false,
    }
  },
  planUnseen: () => [],
  contents: () => ({ files: {}, units: {} }),
  goesBack: false,
  activate: async () => ({ kind: 'done', undone: [] }),
  reattach: async () => false,
  undoes: () => false,
}

/** Refuses options that need root, which would otherwise do nothing. */
function refuseContents(definition: MachineDefinition): void {
  const { name, os, options } = definition
  const named = [
    ...(Object.keys(options.keys).length > 0 ? ['deployment.keys'] : []),
    ...(options.hydra.enable ? ['deployment.hydra'] : []),
    ...(options.autoUpdate.enable ? ['deployment.autoUpdate'] : []),
    ...(os === 'nixos' ? ['deployment.os = "nixos"'] : contentsOf(definition)),
  ]
  if (named.length === 0) return
  throw failure(
    'NO_ROOT',
    `machine '${name}': deployment.builder.wrapper names a Nix in a home, where hydra-ops has no root access for ${named.join(', ')}`,
    {
      machine: name,
      hint: 'such a machine can only be a builder; set deployment.os = "debian" and remove the named options',
    },
  )
}

function contentsOf(definition: Extract<MachineDefinition, { os: 'debian' }>): string[] {
  const { files, units, packageCount, hasActivate, options } = definition
  return [
    ...(Object.keys(files).length > 0 ? ['deployment.files'] : []),
    ...(Object.keys(units).length > 0 ? ['deployment.units'] : []),
    ...(packageCount > 0 ? ['deployment.packages'] : []),
    ...(hasActivate ? ['deployment.activate'] : []),
    ...(options.aptPackages.length > 0 ? ['deployment.aptPackages'] : []),
  ]
}
