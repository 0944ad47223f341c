import { machinesIn, offerTask, readOffer, useTask } from './builder-offer.js'
import type { DeploymentRecord } from './deployment.js'
import { MachineName } from './names.js'
import type { BuilderRow } from './reports.js'

type Machines = Pick<DeploymentRecord, 'machines'>

/** Lists the builders of a deployment with the machines that build on them, as of the last deploy. */
export function builderRows(record: Machines): BuilderRow[] {
  return Object.keys(record.machines).flatMap((user) => buildersUsedBy(record, MachineName.parse(user)))
}

/** Lists the builders that one machine uses, as of its last deploy. */
export function buildersUsedBy({ machines }: Machines, usedBy: MachineName): BuilderRow[] {
  const { builders, drained } = machines[usedBy]?.tasks[useTask]?.outputs ?? {}
  return machinesIn(builders).flatMap((builder) => {
    const offer = readOffer(machines[builder]?.tasks[offerTask]?.outputs.entry)
    return offer === undefined
      ? []
      : [{ builder, usedBy, drained: machinesIn(drained).includes(builder), ...offer }]
  })
}
