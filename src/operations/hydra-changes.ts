import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { userSecretName } from '../core/hydra-users.js'
import { MachineName } from '../core/names.js'
import { noAnswer } from '../hydra/api.js'
import { changeBuild, evaluateNow } from '../hydra/changes.js'
import { readPlace } from '../hydra/names.js'
import { HydraSession } from '../hydra/session.js'
import { operatorRun, senderFromOperator } from '../hydra/way.js'
import { type HydraChoice, urlOf } from './hydra-at.js'
import { type PasswordRequest, readPassword } from './hydra-password.js'

/** Request to change a build or a jobset, as a user of Hydra. */
export interface HydraChange extends HydraChoice {
  readonly user: string
  /** Source of the password; `generate` stands for the password that hydra-ops generated for the user. */
  readonly password: PasswordRequest
}

export async function evaluateJobset(ops: Ops, change: HydraChange, place: string): Promise<void> {
  const { project, jobset, job } = readPlace(place)
  if (jobset === undefined || job !== undefined)
    throw usageError(`'${place}' is not a jobset`, { hint: 'write PROJECT:JOBSET' })
  await evaluateNow(await logIn(ops, change), { project, jobset })
}

export async function changeHydraBuild(
  ops: Ops,
  change: HydraChange,
  verb: 'restart' | 'cancel',
  build: number,
): Promise<void> {
  await changeBuild(await logIn(ops, change), verb, build)
}

async function logIn(ops: Ops, change: HydraChange): Promise<HydraSession> {
  const url = await urlOf(ops, change)
  const password = await passwordOf(ops, change)
  const session = new HydraSession(url, senderFromOperator(url, operatorRun(ops)))
  await session.login(undefined, change.user, password).catch((error: unknown) => {
    throw noAnswer(url, '/login', error)
  })
  return session
}

/** Returns the generated password if the user wants that password; otherwise reads the given source, or asks. */
async function passwordOf(ops: Ops, { deployment, user, password }: HydraChange): Promise<string> {
  if (password.kind === 'generate') {
    const { uuid, machines } = await ops.store.resolve(deployment)
    const secrets = ops.secrets.of(uuid)
    for (const name of Object.keys(machines)) {
      const kept = await secrets.readGenerated(
        MachineName.parse(name),
        userSecretName(user),
        `password of '${user}'`,
      )
      if (kept !== undefined) return kept.trimEnd()
    }
    return passwordOf(ops, { deployment, url: undefined, user, password: { kind: 'ask' } })
  }
  const read = await readPassword(ops, user, password)
  return read.kind === 'text' ? read.text : ops.questions.secret(`password of '${user}'`)
}
