import { posix } from 'node:path'
import type { CommonOptions } from '../src/core/common-options.js'
import type { MachineDefinition } from '../src/core/definition.js'
import { keyUnitName } from '../src/core/key-unit-name.js'
import { optionName } from '../src/core/option-name.js'
import { placeProblems, type ReservedPlace, unitFile, type WantedPlace } from '../src/core/owned-places.js'
import type { TaskMachine, WantedTask } from '../src/core/setup-task.js'
import type { Issue } from './definition-errors.js'

/** A function that creates a set-up task for a machine. */
export type TaskBinder = (machine: TaskMachine) => WantedTask | undefined

/** Names of the files and units in a definition. */
export interface PlacedNames {
  readonly files: readonly string[]
  readonly units: readonly string[]
}

/** Folders that cannot hold keys. debian-checks.nix already refuses files in these folders. */
const forbidden: readonly ReservedPlace[] = [
  ...['/nix', '/proc', '/sys'].map((folder) => ({ folder, owner: 'the system itself' })),
  ...['/run/hydra-ops', '/var/lib/hydra-ops'].map((folder) => ({ folder, owner: 'hydra-ops itself' })),
].map(({ folder, owner }) => ({ path: `${folder}/**`, owner, instead: 'another folder' }))

/** Files that hydra-ops reserves on every machine. */
const alwaysReserved: readonly ReservedPlace[] = ['passwd', 'group', 'shadow', 'gshadow'].map((name) => ({
  path: `/etc/${name}`,
  owner: 'useradd of a package or of a set-up task',
  instead: 'deployment.activate to create users',
}))

/** Lists the places in a definition that hydra-ops, or another part of the definition, also writes. */
export function reservedIssues(
  definition: MachineDefinition,
  names: PlacedNames,
  context: {
    readonly deployment: string
    readonly tasks: readonly TaskBinder[]
    readonly ofProvider: readonly ReservedPlace[]
  },
): Issue[] {
  const { options } = definition
  const subject: TaskMachine = { definition, deployment: context.deployment, publishedPort: () => undefined }
  const reserved = [
    ...alwaysReserved,
    ...context.ofProvider,
    ...context.tasks.flatMap((bind) => bind(subject)?.owns ?? []),
  ]
  const wanted = wantedPlaces(options.keys, names)
  const told = wanted.filter((place) => place.isKey !== true && placeProblems([place], forbidden).length > 0)
  return placeProblems(
    wanted.filter((place) => !told.includes(place)),
    [...forbidden, ...reserved, ...keyUnits(options.keys)],
  )
}

function keyUnits(keys: CommonOptions['keys']): ReservedPlace[] {
  return Object.keys(keys).flatMap((name) => {
    const unit = keyUnitName(name)
    if (unit === undefined) return []
    const owner = optionName(['deployment', 'keys', name])
    return [{ path: unitFile(unit), owner, instead: 'another name for the key or the unit' }]
  })
}

function wantedPlaces(keys: CommonOptions['keys'], { files, units }: PlacedNames): WantedPlace[] {
  return [
    ...Object.entries(keys).map(([name, key]) => ({
      option: ['deployment', 'keys', name],
      path: posix.join(key.destDir, key.name ?? name),
      isKey: true,
    })),
    ...units.map((name) => ({ option: ['deployment', 'units', name], path: unitFile(name) })),
    ...files.map((path) => ({ option: ['deployment', 'files', path], path })),
  ]
}
