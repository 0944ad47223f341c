import type { NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { MachineName } from '../core/names.js'
import { checkEach } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'
import { machinesIn, selectMachines } from '../network/selection.js'
import type { DeployRequest } from './request.js'

/** Machines that a deploy selects. */
export interface ChosenMachines {
  readonly wanted: readonly MachineName[]
  /** Machines that are no longer in the network. */
  readonly obsolete: readonly MachineName[]
}

/** Returns whether the deploy selects only some machines; the other machines may then be broken. */
export function choosesSome({ selection, retryFailed }: DeployRequest): boolean {
  const { on, include = [], exclude = [] } = selection
  return retryFailed || on !== undefined || include.length > 0 || exclude.length > 0
}

/**
 * Chooses the selected machines, including obsolete machines. An obsolete machine that is not selected is not
 * destroyed.
 */
export function chooseMachines(
  record: DeploymentRecord,
  network: NetworkDefinition,
  request: DeployRequest,
): ChosenMachines {
  const present = machinesIn(network)
  const names = new Set(present.map(({ name }) => name))
  const gone = Object.keys(record.machines)
    .map((name) => MachineName.parse(name))
    .filter((name) => !names.has(name))
  const candidates = [...present, ...gone.map((name) => ({ name, tags: [] }))]
  const selected = selectMachines(candidates, request.selection).filter(
    (name) => !request.retryFailed || hasFailed(record, name),
  )
  const wanted = selected.filter((name) => names.has(name))
  refuseStrayClosures(request, wanted, names)
  return { wanted, obsolete: selected.filter((name) => !names.has(name)) }
}

/** Refuses a closure for a machine that is not deployed; otherwise the closure would be ignored silently. */
function refuseStrayClosures(
  request: DeployRequest,
  wanted: readonly MachineName[],
  names: ReadonlySet<MachineName>,
): void {
  checkEach(request.closures.keys(), (machine) => {
    if (!wanted.includes(machine)) throw strayClosure(machine, names)
  })
}

function strayClosure(machine: MachineName, names: ReadonlySet<MachineName>): Error {
  if (names.has(machine)) {
    return usageError(`--closure ${machine}=…: machine '${machine}' is not selected`, { machine })
  }
  const close = suggest(machine, [...names])
  return usageError(`--closure ${machine}=…: no machine of the network is called '${machine}'`, {
    hint:
      close === undefined
        ? `the machines of the network are: ${[...names].join(', ')}`
        : `did you mean '${close}'?`,
  })
}

/** Returns whether a machine failed, or was never deployed completely. */
function hasFailed(record: DeploymentRecord, machine: MachineName): boolean {
  const last = record.machines[machine]?.lastResult
  return last === undefined || last === 'failed' || last === 'degraded'
}
