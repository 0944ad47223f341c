import { readFile } from 'node:fs/promises'
import type { Ops } from '../core/context.js'
import { failure, OpsError, usageError } from '../core/errors.js'
import { errnoOf } from '../core/file-failure.js'
import { userSecretName } from '../core/hydra-users.js'
import type { MachineName } from '../core/names.js'
import type { DeploymentSecrets } from '../core/secrets.js'
import { newSecret, usableSecret } from '../tasks/secrets.js'

/** Source of a user's password; `text` means that the password has been read. */
export type PasswordRequest =
  | { readonly kind: 'ask' | 'stdin' | 'generate' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'text'; readonly text: string }

/**
 * Reads a password from a file or a pipe before contacting anything. Refuses to ask for a password without a
 * terminal.
 */
export async function readPassword(
  ops: Ops,
  user: string,
  request: PasswordRequest,
): Promise<PasswordRequest> {
  const what = whatOf(user)
  if (request.kind === 'file') return taken(user, await fileText(request.path, what))
  if (request.kind === 'stdin') {
    const hint = 'omit --password-stdin; hydra-ops then asks for the password without showing it'
    return taken(user, await ops.questions.piped(what, hint))
  }
  if (request.kind === 'ask' && !ops.questions.interactive)
    throw usageError(`hydra-ops has no terminal to ask for the ${what}`, {
      hint: 'give --password-file FILE, --password-stdin or --generate',
    })
  return request
}

interface PasswordUse {
  readonly ops: Ops
  readonly secrets: DeploymentSecrets
  readonly machine: MachineName
  readonly user: string
  readonly given: PasswordRequest
  /** Whether an earlier generated password stays in its file, although the user no longer has it. */
  readonly keep: boolean
}

/**
 * Runs an action with the password. A generated password is saved before its use, because a crash must not leave a
 * user whose password nobody knows. A failed action restores the earlier password.
 */
export async function withPassword<T>(
  use: PasswordUse,
  action: (password: string) => Promise<T>,
): Promise<T> {
  const { secrets, machine } = use
  const name = userSecretName(use.user)
  if (use.given.kind !== 'generate') {
    const done = await action(await textOf(use))
    if (!use.keep) await secrets.forgetGenerated(machine, name)
    return done
  }
  const before = await secrets.readGenerated(machine, name, whatOf(use.user))
  const password = newSecret()
  await secrets.keepGenerated(machine, name, password)
  try {
    return await action(password)
  } catch (error) {
    // The change may have succeeded although the connection was lost.
    if (error instanceof OpsError && error.code === 'CONNECTION_LOST') throw error
    if (before === undefined) await secrets.forgetGenerated(machine, name)
    else await secrets.keepGenerated(machine, name, before.trimEnd())
    throw error
  }
}

async function textOf({ ops, user, given }: PasswordUse): Promise<string> {
  if (given.kind === 'text') return given.text
  const first = await ops.questions.secret(`new password of Hydra's user '${user}':`)
  const usable = usableSecret(first)
  if ('wrong' in usable) throw refused(user, usable.wrong)
  if ((await ops.questions.secret('repeat the new password:')) === first) return usable.secret
  throw usageError(`the two passwords of '${user}' differ; nothing was changed`)
}

function taken(user: string, text: string): PasswordRequest {
  const usable = usableSecret(text)
  if ('wrong' in usable) throw refused(user, usable.wrong)
  return { kind: 'text', text: usable.secret }
}

async function fileText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw usageError(`the ${what} cannot be read from ${path} (${errnoOf(error) ?? 'not a file'})`, {
      cause: error,
    })
  }
}

function refused(user: string, why: string): Error {
  return failure('SECRET', `${whatOf(user)}: ${why}`, { hint: 'nothing was changed' })
}

function whatOf(user: string): string {
  return `password of Hydra's user '${user}'`
}
