import type { Ops } from '../core/context.js'
import { failure, messageOf, usageError } from '../core/errors.js'
import type { HydraUserChange, HydraUserSeen } from '../core/hydra-user-admin.js'
import { type PasswordSource, passwordRoles, UserOptions } from '../core/hydra-users.js'
import { checkEach } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'
import { hostOf } from '../machine/connect.js'
import { journal, secretsOf } from '../machine/machine.js'
import { changeHydra, type HydraRequest, lookAtHydra, type OpenHydra } from './hydra-machine.js'
import { type PasswordRequest, readPassword, withPassword } from './hydra-password.js'

/** A user of Hydra, and whether the network expression names the user. */
export interface HydraUserRow extends HydraUserSeen {
  readonly machine: string
  readonly named: boolean
}

/** Lists all users known to Hydra. A notice names users of the expression that Hydra does not have. */
export function listHydraUsers(ops: Ops, request: HydraRequest): Promise<HydraUserRow[]> {
  return lookAtHydra(ops, request, async (hydra) => {
    const seen = await seenUsers(hydra)
    const absent = [...hydra.users.named.keys()].filter((name) => !seen.has(name))
    if (absent.length > 0)
      ops.events.emit({
        kind: 'notice',
        text: `the network expression names ${absent.map((name) => `'${name}'`).join(', ')}, which Hydra does not have yet; run hydra-ops deploy`,
      })
    return [...seen.values()].map((user) => rowOf(hydra, user))
  })
}

export interface AddUser extends HydraRequest {
  readonly name: string
  readonly fullName: string
  readonly emailAddress: string
  readonly roles: readonly string[]
  readonly password: PasswordRequest
}

/** Adds a Hydra user that the network expression does not name. */
export async function addHydraUser(ops: Ops, request: AddUser): Promise<HydraUserRow> {
  refuseUser(request)
  const { name, fullName, emailAddress, roles } = request
  const given = await readPassword(ops, name, request.password)
  return changeHydra(ops, request, async (hydra) => {
    if (hydra.users.named.has(name))
      throw usageError(`the network expression names user '${name}'`, {
        hint: 'change this user in the network expression, then run hydra-ops deploy',
      })
    if ((await seenUsers(hydra)).has(name))
      throw usageError(`Hydra already has a user '${name}'`, {
        hint: `hydra-ops hydra user set-password ${name} changes the password`,
      })
    const user = { name, fullName, emailAddress, roles }
    return changed(ops, hydra, { event: 'hydra.user-add', user, given, keep: false })
  })
}

export interface SetPassword extends HydraRequest {
  readonly name: string
  readonly password: PasswordRequest
}

/** Changes the password of a Hydra user and keeps all other properties. */
export async function setHydraPassword(ops: Ops, request: SetPassword): Promise<HydraUserRow> {
  const { name } = request
  const given = await readPassword(ops, name, request.password)
  return changeHydra(ops, request, async (hydra) => {
    const seen = await seenUsers(hydra)
    if (!seen.has(name)) {
      const close = suggest(name, [...seen.keys()])
      throw usageError(`Hydra has no user '${name}'`, {
        hint:
          close === undefined
            ? `hydra-ops hydra user add ${name} creates the user`
            : `did you mean '${close}'?`,
      })
    }
    const source = hydra.users.named.get(name)
    // A generated password stays in its file; the next deploy would generate a third password without the file.
    const keep = source?.generate === true
    const row = await changed(ops, hydra, { event: 'hydra.user-set-password', user: { name }, given, keep })
    if (source !== undefined && !(keep && given.kind === 'generate'))
      ops.events.emit({ kind: 'notice', text: overruled(name, source) })
    return row
  })
}

/** Explains what happens to a password that differs from the expression's. */
function overruled(name: string, source: PasswordSource): string {
  const from = (['file', 'command', 'prompt', 'generate'] as const).find((each) => source[each])
  const stale = source.generate ? `, which hydra-ops hydra password ${name} still shows` : ''
  return `the network expression names user '${name}' and gives password.${from}${stale}: setup verify logs in with that password; the next change of password.${from} replaces the new password`
}

interface Change {
  readonly event: string
  readonly user: Omit<HydraUserChange, 'password'>
  readonly given: PasswordRequest
  /** Whether an earlier generated password stays in its file. */
  readonly keep: boolean
}

/** Makes the change, with its intent and its result in the journal, and then reads the user from Hydra. */
async function changed(
  ops: Ops,
  hydra: OpenHydra,
  { event, user, given, keep }: Change,
): Promise<HydraUserRow> {
  const { job, users } = hydra
  const about = { ops, secrets: secretsOf(job), machine: job.machine, user: user.name }
  return withPassword({ ...about, given, keep }, async (password) => {
    await journal(job, event, { data: user.name })
    try {
      await users.change(hostOf(job), { ...user, password }, job.run)
      const found = (await seenUsers(hydra)).get(user.name)
      if (found?.canLogin !== true)
        throw failure(
          'HYDRA_USER',
          `machine '${job.machine}': Hydra has no user '${user.name}' who can log in`,
          {
            machine: job.machine,
            hint: 'hydra-create-user reported no error; hydra-ops logs shows its output',
          },
        )
      await journal(job, event, { data: user.name, result: 'done' })
      return rowOf(hydra, found)
    } catch (error) {
      await journal(job, event, { data: user.name, result: messageOf(error) })
      throw error
    }
  })
}

async function seenUsers({ job, users }: OpenHydra): Promise<ReadonlyMap<string, HydraUserSeen>> {
  return new Map((await users.list(hostOf(job), job.run)).map((user) => [user.name, user]))
}

function rowOf({ job, users }: OpenHydra, user: HydraUserSeen): HydraUserRow {
  return { machine: job.machine, ...user, named: users.named.has(user.name) }
}

/** Refuses values that Hydra itself does not check: Hydra accepts any name, and roles that grant nothing. */
function refuseUser({ name, fullName, emailAddress, roles }: AddUser): void {
  const known: readonly string[] = passwordRoles.role.options
  checkEach(roles, (role) => {
    if (known.includes(role)) return
    const close = suggest(role, known)
    throw usageError(`Hydra has no role '${role}'`, {
      hint: close === undefined ? `the roles are: ${known.join(', ')}` : `did you mean '${close}'?`,
    })
  })
  const { shape } = UserOptions
  const checks = [
    [passwordRoles.userName, name, 'the name of a user'],
    [shape.fullName, fullName, 'a full name'],
    [shape.emailAddress, emailAddress, 'the mail address of a user'],
  ] as const
  checkEach(checks, ([schema, text, what]) => {
    const issue = schema.safeParse(text).error?.issues[0]
    if (issue !== undefined)
      throw usageError(`${JSON.stringify(text)} is not valid as ${what}: expected ${issue.message}`)
  })
}
