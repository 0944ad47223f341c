import { failure } from '../../core/errors.js'
import type { Link } from './job.js'
import { hostOf } from './reach.js'
import { ownerFile, type Survey } from './survey.js'

/** Refuses a machine that this deployment must not change; nothing was touched there yet. */
export function refuseMachine(link: Link, survey: Survey): void {
  refuseOtherOwner(link, survey)
}

/** Two deployments on one host would each remove what the other one put there. */
function refuseOtherOwner(link: Link, { owner }: Survey): void {
  const { machine } = link
  if (owner === undefined || owner === link.session.record.uuid) return
  const { target } = hostOf(link)
  const asRoot = target.user === 'root' ? [] : target.privilegeEscalation
  const remove = ['hydra-ops ssh', machine, '--', ...asRoot, 'rm', ownerFile].join(' ')
  throw failure(
    'FOREIGN',
    `machine '${machine}' belongs to another deployment, ${owner}, as its file ${ownerFile} says; it was not touched`,
    {
      machine,
      hint: `if that one was destroyed or lost, or is to give the machine up: ${remove}; the next deploy takes over, and removes what the other one left there`,
    },
  )
}
