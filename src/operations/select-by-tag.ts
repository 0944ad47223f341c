import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { machineNames } from './resources.js'
import { type Selection, selectMachines } from './selection.js'

/**
 * The selected machines of the state, obsolete ones too. The state knows no tags: where the selection names
 * some, the network expression is asked (names and tags only, nothing is written).
 */
export async function selectRecordedMachines(
  ops: Ops,
  record: DeploymentRecord,
  selection: Selection,
  run: Run,
): Promise<MachineName[]> {
  const wantsTags = selection.on?.includes('@') === true
  const tags = wantsTags ? await tagsOf(ops, record, run) : new Map<MachineName, readonly string[]>()
  return selectMachines(
    machineNames(record).map((name) => ({ name, tags: tags.get(name) ?? [] })),
    selection,
  )
}

async function tagsOf(
  ops: Ops,
  record: DeploymentRecord,
  run: Run,
): Promise<ReadonlyMap<MachineName, readonly string[]>> {
  const { evaluationRequest } = await import('./deploy/evaluate-network.js')
  const options = { args: {}, searchPath: [], nix: { showTrace: false, options: [] } }
  const network = await ops.nix.evaluate(evaluationRequest(ops, record, options, 'shape'), run)
  return new Map(
    [...network.machines].map(([name, definition]) => [MachineName.parse(name), definition.options.tags]),
  )
}
