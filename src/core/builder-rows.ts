import { machinesIn, offerTask, readOffer, useTask } from './builder-offer.js'
import type { DeploymentRecord } from './deployment.js'
import { MachineName } from './names.js'
import type { BuilderRow } from './reports.js'

/** Lists the builders of a deployment with the machines that build there, as the last deploy left them. */
export function builderRows({ machines }: Pick<DeploymentRecord, 'machines'>): BuilderRow[] {
  return Object.entries(machines).flatMap(([user, record]) => {
    const { builders, drained } = record.tasks[useTask]?.outputs ?? {}
    return machinesIn(builders).flatMap((builder) => {
      const offer = readOffer(machines[builder]?.tasks[offerTask]?.outputs.entry)
      return offer === undefined
        ? []
        : [
            {
              builder,
              usedBy: MachineName.parse(user),
              drained: machinesIn(drained).includes(builder),
              ...offer,
            },
          ]
    })
  })
}
