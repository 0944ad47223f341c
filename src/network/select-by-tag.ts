import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { machineNames } from '../machine/resource.js'
import { machinesIn, type Selectable, type Selection, selectMachines } from './selection.js'

/**
 * Selects machines of the state, including obsolete machines. The state has no tags, so a selection with tags
 * evaluates names and tags of the network expression. Nothing is written.
 */
export async function selectRecordedMachines(
  ops: Ops,
  record: DeploymentRecord,
  selection: Selection,
  run: Run,
): Promise<MachineName[]> {
  const wantsTags = selection.on?.includes('@') === true
  const known = new Map(
    (wantsTags ? await machinesWithTags(ops, record, run) : []).map((each) => [each.name, each]),
  )
  return selectMachines(
    machineNames(record).map((name) => known.get(name) ?? { name, tags: [] }),
    selection,
  )
}

async function machinesWithTags(ops: Ops, record: DeploymentRecord, run: Run): Promise<Selectable[]> {
  const { evaluationRequest } = await import('./evaluate.js')
  const options = { args: {}, searchPath: [], nix: { showTrace: false, options: [] } }
  const request = evaluationRequest(ops, record, options, 'shape', { required: [] })
  return machinesIn(await ops.nix.evaluate(request, run))
}
