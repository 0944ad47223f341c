import type { Ops } from '../../core/context.js'
import type { NetworkDefinition } from '../../core/definition.js'
import type { DeploymentRecord } from '../../core/deployment.js'
import { usageError } from '../../core/errors.js'
import type { NixFlags } from '../../core/nix.js'
import { evaluationRequest, physicalOf } from '../evaluate.js'
import { type JobsData, renderData, renderJobs, renderMachine } from './files.js'
import { ownFiles } from './own-files.js'

/** Names of jobs and files that no machine may have. */
const taken = new Set(['default', 'release'])

/** Returns the names of all machines of a network, in sorted order. */
export function machinesOf({ machines, failed }: NetworkDefinition): string[] {
  return [...machines.keys(), ...(failed?.keys() ?? [])].map(String).sort()
}

/** Refuses machine names that cannot be names of jobs in one jobset. */
export function refuseNames(names: readonly string[]): void {
  const wrong = names.find((name) => taken.has(name))
  if (wrong !== undefined)
    throw usageError(`machine '${wrong}' cannot be a job: the name is reserved`, {
      machine: wrong,
      hint: 'give the machine another name',
    })
  for (const name of names) {
    const inner = names.find((other) => other.startsWith(`${name}.`))
    if (inner !== undefined)
      throw usageError(`machines '${name}' and '${inner}' cannot both be jobs: Hydra splits names at dots`, {
        machine: name,
        hint: 'give one of the machines another name',
      })
  }
  const odd = names.find((name) => !/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name))
  if (odd !== undefined)
    throw usageError(`machine '${odd}' cannot be a job: the name of a job begins with a letter or "_"`, {
      machine: odd,
      hint: 'give the machine another name',
    })
}

/** Returns the facts of the state that Hydra's evaluation of a network needs. */
export function jobsData(ops: Ops, record: DeploymentRecord, network: NetworkDefinition): JobsData {
  const flags: NixFlags = { showTrace: false, options: [] }
  const { deployment, args } = evaluationRequest(
    ops,
    record,
    { args: {}, searchPath: [], nix: flags },
    'shape',
  )
  const names = machinesOf(network)
  const physical = physicalOf(ops, record, network)
  return {
    deployment,
    system: network.form?.system ?? '',
    arguments: Object.keys(args),
    machines: Object.fromEntries(Object.entries(physical).filter(([name]) => names.includes(name))),
  }
}

/** Returns every file except spec.json, by the path below the folder. */
export function wantedFiles(
  ops: Pick<Ops, 'providers'>,
  folder: string,
  record: DeploymentRecord,
  data: JobsData,
  names: readonly string[],
): Map<string, string> {
  return new Map([
    ['default.nix', renderJobs(folder, record.expressions)],
    ['machines.json', renderData(data)],
    ...names.map((name) => [`${name}.nix`, renderMachine(name)] as const),
    ...[...ownFiles(ops.providers.all())].map(([path, text]) => [`hydra-ops/${path}`, text] as const),
  ])
}
