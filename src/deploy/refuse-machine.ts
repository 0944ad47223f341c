import { failure } from '../core/errors.js'
import { hostOf } from '../machine/connect.js'
import type { MachineSession } from '../machine/machine.js'
import { ownerFile, type Survey, surveyMachine } from '../systems/debian/survey.js'
import type { Job } from './job.js'
import { type Look, lookAt } from './look.js'

const supported = new Set(['debian', 'ubuntu'])

/** Looks at a machine that is to be changed, and refuses one that this deployment must not change. */
export async function lookToChange(job: Job): Promise<Look> {
  const look = await lookAt(job).catch((error: unknown) => refuseFailed(job, error))
  refuseMachine(job, look.survey)
  return look
}

/** On another system a part of the look fails in a way that explains nothing: no dpkg-query, for instance. */
async function refuseFailed(job: Job, error: unknown): Promise<never> {
  const survey = await surveyMachine(hostOf(job), job.run).catch(() => undefined)
  if (survey !== undefined) refuseMachine(job, survey)
  throw error
}

/** Refuses a machine that this deployment must not change; nothing was touched there yet. */
export function refuseMachine(session: MachineSession, survey: Survey): void {
  refuseOtherSystem(session, survey)
  refuseOtherOwner(session, survey)
}

function refuseOtherSystem({ machine }: MachineSession, { systems, facts }: Survey): void {
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

/** Two deployments on one host would each remove what the other one put there. */
function refuseOtherOwner(session: MachineSession, { owner }: Survey): void {
  const { machine } = session
  if (owner === undefined || owner === session.deployment.record.uuid) return
  const { target } = hostOf(session)
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
