import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { DeploymentPaths } from '../core/deployment.js'
import { failure, messageOf } from '../core/errors.js'
import { errnoOf } from '../core/file-failure.js'
import type { MachineName } from '../core/names.js'

/** Where a generated secret is kept: beside the deployment's keys, for its owner alone. */
export function generatedFile(paths: DeploymentPaths, machine: MachineName, name: string): string {
  return join(paths.keys, `${machine}.${encodeURIComponent(name)}.generated`)
}

export function newSecret(): string {
  return randomBytes(18).toString('base64url')
}

/** As it was kept, with its newline; undefined = none was made up. */
export function readGeneratedSecret(file: string, what: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw failure('SECRET', `the ${what} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

/** Whole or not at all, and on the disk on return; in the place of an older one. */
export function keepGeneratedSecret(file: string, secret: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.new`
  rmSync(draft, { force: true })
  const fd = openSync(draft, 'wx', 0o600)
  try {
    writeFileSync(fd, `${secret}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(draft, file)
}

export function forgetGeneratedSecret(file: string): void {
  rmSync(file, { force: true })
}
