import { readFile } from 'node:fs/promises'
import type { Ops } from '../core/context.js'
import type { DeploymentPaths } from '../core/deployment.js'
import { failure, OpsError, usageError } from '../core/errors.js'
import { errnoOf } from '../core/file-failure.js'
import { userSecretName } from '../core/hydra-users.js'
import type { MachineName } from '../core/names.js'
import {
  forgetGeneratedSecret,
  generatedFile,
  keepGeneratedSecret,
  newSecret,
  readGeneratedSecret,
} from '../tasks/generated-secret.js'
import { usableSecret } from '../tasks/secrets.js'

/** Where the password of a user comes from; `text` once it was read. */
export type PasswordRequest =
  | { readonly kind: 'ask' | 'stdin' | 'generate' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'text'; readonly text: string }

/** Reads what a file or a pipe gives, and refuses what could not be asked for: before anything is contacted. */
export async function readPassword(
  ops: Ops,
  user: string,
  request: PasswordRequest,
): Promise<PasswordRequest> {
  const what = whatOf(user)
  if (request.kind === 'file') return taken(user, await fileText(request.path, what))
  if (request.kind === 'stdin') {
    const hint = 'leave --password-stdin out, and it is asked for without being shown'
    return taken(user, await ops.questions.piped(what, hint))
  }
  if (request.kind === 'ask' && !ops.questions.interactive)
    throw usageError(`there is no terminal to ask for the ${what}`, {
      hint: 'give --password-file FILE, --password-stdin or --generate',
    })
  return request
}

interface PasswordUse {
  readonly ops: Ops
  readonly paths: DeploymentPaths
  readonly machine: MachineName
  readonly user: string
  readonly given: PasswordRequest
  /** One that was made up earlier stays in its file, though it is not the user's any more. */
  readonly keep: boolean
}

/**
 * Has something done with the password. One that is made up is kept before it is used: a crash in between must not
 * leave a user whose password nobody knows. When it comes to nothing, the earlier one is put back.
 */
export async function withPassword<T>(
  use: PasswordUse,
  action: (password: string) => Promise<T>,
): Promise<T> {
  const file = generatedFile(use.paths, use.machine, userSecretName(use.user))
  if (use.given.kind !== 'generate') {
    const done = await action(await textOf(use))
    if (!use.keep) forgetGeneratedSecret(file)
    return done
  }
  const before = readGeneratedSecret(file, whatOf(use.user))
  const password = newSecret()
  keepGeneratedSecret(file, password)
  try {
    return await action(password)
  } catch (error) {
    // A connection that was lost may have done it all the same.
    if (!(error instanceof OpsError && error.code === 'CONNECTION_LOST')) putBack(file, before)
    throw error
  }
}

function putBack(file: string, before: string | undefined): void {
  if (before === undefined) forgetGeneratedSecret(file)
  else keepGeneratedSecret(file, before.trimEnd())
}

async function textOf({ ops, user, given }: PasswordUse): Promise<string> {
  if (given.kind === 'text') return given.text
  const first = await ops.questions.secret(`new password of Hydra's user '${user}':`)
  const usable = usableSecret(first)
  if ('wrong' in usable) throw refused(user, usable.wrong)
  if ((await ops.questions.secret('the same again:')) === first) return usable.secret
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
