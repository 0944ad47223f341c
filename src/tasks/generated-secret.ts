import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DeploymentPaths } from '../core/deployment.js'
import { makeFolderDurably, replaceDurably, temporaryName } from '../core/durable-file.js'
import { failure, messageOf } from '../core/errors.js'
import { errnoOf } from '../core/file-failure.js'
import type { MachineName } from '../core/names.js'
import { shellQuote } from '../core/shell-quote.js'

/** Returns the path of a generated secret: beside the deployment's keys, readable by its owner alone. */
export function generatedFile(paths: DeploymentPaths, machine: MachineName, name: string): string {
  return join(paths.keys, `${machine}.${encodeURIComponent(name)}.generated`)
}

export function newSecret(): string {
  return randomBytes(18).toString('base64url')
}

/** Reads a generated secret with its newline; `undefined` means that none exists yet. */
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

/** Replaces an older secret atomically; the new one is on the disk when the function returns. */
export function keepGeneratedSecret(file: string, secret: string): void {
  makeFolderDurably(dirname(file))
  replaceDurably(file, `${secret}\n`)
}

export function forgetGeneratedSecret(file: string): void {
  rmSync(file, { force: true })
}

/** A file with a generated secret of a machine, or with a draft that a crash left. */
export interface GeneratedSecret {
  readonly file: string
  /** Name of the secret, as people know it. */
  readonly name: string
}

/**
 * Lists the generated secrets of a machine. A machine's name may begin another's (`web`, `web.db`), so the list leaves
 * out files of other `machines`.
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

/** Decodes the name of a secret; a file that somebody else put there may have an undecodable name. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
