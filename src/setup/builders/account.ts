import { createHash } from 'node:crypto'
import { keyTask, operatorName } from '../../core/builder-offer.js'
import { buildersUsers } from '../../core/builder-options.js'
import type { MachineName } from '../../core/names.js'
import type { Run } from '../../core/run.js'
import type { TaskMachine } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { placeFiles } from '../../remote/place-files.js'
import { askMachine, type Facts, fact, runScript } from '../../remote/run-script.js'
import { nixSocketGroup } from '../hydra/settings.js'

/** An account on a builder, for logins from other machines. */
export interface Account {
  readonly user: string
  readonly home: string
  /** Whether the task creates the user; a NixOS machine creates the user from its configuration. */
  readonly makesUser: boolean
}

/** Public keys that may log in, and machines without a key so far. */
export interface Logins {
  readonly keys: readonly { readonly machine: MachineName; readonly publicKey: string }[]
  /** Machines that may build here, but whose public key is not known yet. */
  readonly awaited: readonly MachineName[]
  /** Names that may build here, but that are not machines of the deployment. */
  readonly unknown: readonly MachineName[]
  /** Whether the option names the machine itself, which is a mistake; absent if it does not. */
  readonly itself?: true
}

const probeMs = 120_000

/** Describes an account; its home lies outside /home, which a machine may mount from elsewhere. */
export function accountOf(user: string, { definition }: Pick<TaskMachine, 'definition'>): Account {
  return { user, home: `/var/lib/hydra-ops-builder/${user}`, makesUser: definition.os === 'debian' }
}

export function keysFile({ home }: Pick<Account, 'home'>): string {
  return `${home}/.ssh/authorized_keys`
}

/** Finds the public keys of the machines that may build on a machine, and the key of the operator host. */
export function loginsOf({ definition, peers, operatorKey }: TaskMachine): Logins {
  const named = buildersUsers(definition.options.builder)
  const users = named.filter((name) => name === operatorName || name !== definition.name)
  const keyOf = (name: MachineName) =>
    name === operatorName ? operatorKey : peers?.get(name)?.outputs[keyTask]?.publicKey
  const keys = users.flatMap((name) => {
    const publicKey = keyOf(name)
    return publicKey === undefined ? [] : [{ machine: name, publicKey }]
  })
  const unknown = users.filter((name) => name !== operatorName && peers?.has(name) === false)
  const awaited = users.filter((name) => !unknown.includes(name) && keyOf(name) === undefined)
  return { keys, awaited, unknown, ...(users.length < named.length ? { itself: true } : {}) }
}

/** Writes the keys that may log in. The forced command replaces any command that the client requests. */
export function authorizedKeys(
  keys: Logins['keys'],
  { task, command }: { readonly task: string; readonly command: string },
): string {
  const lines = keys.map(
    ({ machine, publicKey }) => `restrict,command="${command}" ${publicKey} hydra-ops:${machine}\n`,
  )
  return `# Written by hydra-ops (set-up task "${task}"); changes made here are overwritten.\n${lines.join('')}`
}

/** Looks at an account and at the capabilities of its machine. */
export async function lookAtAccount(host: Host, { user, home }: Account, run: Run): Promise<Facts> {
  const values = { user, home, keys: keysFile({ home }), group: nixSocketGroup }
  return askMachine(
    host,
    { what: `look at user '${user}'`, script: 'tasks/builder/look', values, timeoutMs: probeMs },
    run,
  )
}

/** Says whether any part of an account exists that hydra-ops made. A removal that was interrupted may leave the home alone. */
export function hasAccount(facts: Facts, { makesUser }: Account): boolean {
  return (fact(facts, 'made') === 'yes' && makesUser) || fact(facts, 'home') === 'there'
}

/** Lists the faults of an account; `undefined` means that the account was never created. */
export function accountFaults(facts: Facts, account: Account, wanted: string): string[] | undefined {
  if (fact(facts, 'user') !== 'there' || fact(facts, 'hash') === '-') return undefined
  const same = fact(facts, 'hash') === createHash('sha256').update(wanted).digest('hex')
  return [...(facts.get('wrong') ?? []), ...(same ? [] : [`${keysFile(account)} differs`])]
}

/** Creates an account with the keys that may log in. */
export async function makeAccount(host: Host, account: Account, content: string, run: Run): Promise<void> {
  const { user, home, makesUser } = account
  const values = { user, home, group: nixSocketGroup, makes_user: makesUser }
  await runScript(host, { what: `make user '${user}'`, script: 'tasks/builder/apply', values }, run)
  const file = { path: keysFile(account), content, mode: 0o644, user: 'root', group: 'root' }
  await placeFiles(host, [file], { run, what: `write the keys of user '${user}'` })
}

export async function removeAccount(host: Host, account: Account, run: Run): Promise<void> {
  const { user, home, makesUser } = account
  const values = { user, home, makes_user: makesUser }
  await runScript(host, { what: `remove user '${user}'`, script: 'tasks/builder/remove', values }, run)
}
