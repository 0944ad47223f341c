import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DeploymentPaths } from '../core/deployment.js'
import { makeFolderDurably, replaceDurably } from '../core/durable-file.js'
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
