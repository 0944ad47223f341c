import { createHash } from 'node:crypto'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, type Facts, fact, type RemoteScript, runScript } from '../../remote/run-script.js'
import { placedScript } from '../../remote/target-scripts.js'
import type { Logins } from './account.js'

/** A Nix in the home of a user without root, and the command that enters it. */
export interface HomeAccount {
  readonly user: string
  readonly wrapper: readonly string[]
}

const probeMs = 120_000

/** Names the login that the scripts need, because no other user may write into the home. */
function hintFor(user: string): string {
  return `set deployment.targetUser = "${user}", and check that this user's deployment.builder.wrapper enters Nix`
}

/** Prepares a script that runs as the user of the home, without root. */
function question(account: Pick<HomeAccount, 'user'>, script: Omit<RemoteScript, 'hint'>): RemoteScript {
  return { timeoutMs: probeMs, ...script, asLoginUser: true, hint: hintFor(account.user) }
}

function scriptOf({ wrapper }: HomeAccount): string {
  const text = placedScript('tasks/builder-home/serve-store', { wrapper: [...wrapper] })
  return `#!/bin/sh\n# Written by hydra-ops (set-up task "builder"); changes made here are overwritten.\n${text}`
}

function linesOf(keys: Logins['keys']): string[] {
  return keys.map(({ machine, publicKey }) => `${publicKey} hydra-ops:${machine}`)
}

export function lookAtHome(host: Host, account: Pick<HomeAccount, 'user'>, run: Run): Promise<Facts> {
  const what = `look at the Nix of user '${account.user}'`
  return askMachine(host, question(account, { what, script: 'tasks/builder-home/look' }), run)
}

/** Says whether the home contains anything that hydra-ops wrote. */
export function hasHome(facts: Facts): boolean {
  return fact(facts, 'hash') !== '-' || facts.has('key')
}

/** Lists the faults of the forced command and of its keys; `undefined` means that neither exists. */
export function homeFaults(facts: Facts, account: HomeAccount, keys: Logins['keys']): string[] | undefined {
  if (!hasHome(facts)) return undefined
  const wanted = createHash('sha256').update(scriptOf(account)).digest('hex')
  const present = facts.get('key') ?? []
  return [
    ...(fact(facts, 'hash') === wanted ? [] : ['the forced command differs']),
    ...(present.join('\n') === linesOf(keys).join('\n') ? [] : ['the keys that may log in differ']),
  ]
}

/** Places the forced command and its keys in the home. */
export async function makeHome(
  host: Host,
  account: HomeAccount,
  keys: Logins['keys'],
  run: Run,
): Promise<void> {
  const make = {
    what: `let machines use the Nix of user '${account.user}'`,
    script: 'tasks/builder-home/apply',
    values: { user: account.user, keys: linesOf(keys) },
    stdin: scriptOf(account),
  }
  await runScript(host, question(account, make), run)
}

export async function removeHome(host: Host, account: Pick<HomeAccount, 'user'>, run: Run): Promise<void> {
  const { user } = account
  const what = `stop machines from using the Nix of user '${user}'`
  await runScript(
    host,
    question(account, { what, script: 'tasks/builder-home/remove', values: { user } }),
    run,
  )
}

/** Serves the store once, as the forced command would. */
export async function verifyHome(host: Host, account: HomeAccount, run: Run): Promise<void> {
  const { user } = account
  const what = `serve the store of user '${user}'`
  await runScript(
    host,
    question(account, { what, script: 'tasks/builder-home/verify', values: { user } }),
    run,
  )
}
