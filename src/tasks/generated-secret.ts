import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DeploymentPaths } from '../core/deployment.js'
import { makeFolderDurably, replaceDurably, temporaryName } from '../core/durable-file.js'
import { failure, messageOf } from '../core/errors.js'
import { errnoOf } from '../core/file-failure.js'
import type { MachineName } from '../core/names.js'
import { shellQuote } from '../core/shell-quote.js'

/** Where a generated secret is kept: beside the deployment's keys, for its owner alone. */
export function generatedFile(paths: DeploymentPaths, machine: MachineName, name: string): string {
  return join(paths.keys, `${machine}.${encodeURIComponent(name)}.generated`)
}

export function newSecret(): string {
  return randomBytes(18).toString('base64url')
}

/** Reads a secret as it was kept, with its newline; undefined = none was made up. */
export function readGeneratedSecret(file: string, what: string): string | undefined {
  let kept: string
  try {
    kept = readFileSync(file, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw failure('SECRET', `the ${what} cannot be read: ${messageOf(error)}`, { cause: error })
  }
  if (kept.trim() !== '') return kept
  throw failure('SECRET', `the ${what} was kept in ${file}, which is empty`, {
    hint: `put back a copy of it; or rm ${shellQuote(file)}: the next deploy makes up a new one`,
  })
}

/** Keeps a secret in the place of an older one, whole or not at all; on return it is on the disk. */
export function keepGeneratedSecret(file: string, secret: string): void {
  makeFolderDurably(dirname(file))
  replaceDurably(file, `${secret}\n`)
}

export function forgetGeneratedSecret(file: string): void {
  rmSync(file, { force: true })
}

/** A file that holds a generated secret of a machine, or a draft of one that a crash left. */
export interface GeneratedSecret {
  readonly file: string
  /** The name of the secret, as people know it. */
  readonly name: string
}

/**
 * Lists the generated secrets of a machine. A name may be the beginning of another machine's (`web`, `web.db`):
 * what belongs to one of `machines` is left out.
 */
export function generatedSecretsOf(
  paths: DeploymentPaths,
  machine: MachineName,
  machines: readonly string[],
): GeneratedSecret[] {
  if (!existsSync(paths.keys)) return []
  const theirs = machines.map((name) => `${name}.`).filter((prefix) => prefix.startsWith(`${machine}.`))
  const others = theirs.filter((prefix) => prefix !== `${machine}.`)
  return readdirSync(paths.keys).flatMap((file) => {
    const [, name] = /^(.*)\.generated$/.exec(file.replace(temporaryName, '')) ?? []
    if (name === undefined || !name.startsWith(`${machine}.`)) return []
    if (others.some((prefix) => name.startsWith(prefix))) return []
    return [{ file: join(paths.keys, file), name: decoded(name.slice(machine.length + 1)) }]
  })
}

/** Decodes the name of a secret; a file that somebody else put there may have a name that means nothing. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
