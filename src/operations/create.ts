import { existsSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { DeploymentName } from '../core/names.js'
import { isNixName } from '../core/option-name.js'
import { mapEach } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'
import { checkoutOfAll } from '../network/jobs/repository.js'
import { modifyDeployment } from './modify.js'

export interface CreateRequest {
  /** Files as the user wrote them, relative to `folder`. */
  readonly files: readonly string[]
  readonly folder: string
  readonly name: string | undefined
  readonly searchPath: readonly string[]
  /** Nix text per argument. */
  readonly args: Readonly<Record<string, string>>
  /** Whether an existing deployment of that name is changed instead of refused. */
  readonly orModify: boolean
  /** Whether the files are evaluated from git; undefined means no for a new deployment, and no change otherwise. */
  readonly fromGit?: boolean | undefined
}

/** Records a network expression as a deployment; evaluates nothing yet. */
export async function createDeployment(
  ops: Ops,
  request: CreateRequest,
): Promise<{ deployment: DeploymentRecord; created: boolean }> {
  const expressions = expressionPaths(request.files, request.folder)
  const searchPath = request.searchPath.map((entry) => absoluteEntry(entry, request.folder))
  const name = request.name === undefined ? undefined : deploymentName(request.name)
  const known = (await ops.store.list()).find((record) => name !== undefined && record.name === name)
  if (known !== undefined && request.orModify) {
    const deployment = await modifyDeployment(ops, {
      deployment: known.uuid,
      name: undefined,
      files: request.files,
      folder: request.folder,
      searchPath: request.searchPath,
      args: request.args,
      fromGit: request.fromGit,
    })
    return { deployment, created: false }
  }
  if (known !== undefined) throw nameTaken(known)
  if (request.fromGit === true) checkoutOfAll(expressions)
  const fromGit = request.fromGit === true ? { fromGit: true } : {}
  const args = { ...request.args }
  const deployment = await ops.store.create({ name, expressions, searchPath, args, ...fromGit })
  await ops.store.lock(deployment.uuid, async (held) => held.journal({ event: 'create', result: 'done' }))
  return { deployment, created: true }
}

export function nameTaken(known: DeploymentRecord): Error {
  return usageError(`deployment '${known.name}' already exists (${known.uuid})`, {
    hint: 'choose another name, or change that deployment with hydra-ops modify (in scripts: create --or-modify)',
  })
}

export function deploymentName(text: string): DeploymentName {
  const name = DeploymentName.safeParse(text)
  if (name.success) return name.data
  throw usageError(`'${text}' is not a valid name of a deployment`, {
    hint: name.error.issues[0]?.message ?? '',
  })
}

/** Returns the absolute paths of network expressions; refuses a path that Nix cannot import. */
export function expressionPaths(files: readonly string[], folder: string): string[] {
  return mapEach(files, (file) => {
    const path = resolve(folder, file)
    if (existsSync(path)) return importable(path, file)
    throw usageError(`the network expression '${file}' does not exist`, {
      hint: similarFile(path) ?? `the full path is ${path}`,
    })
  })
}

/** Refuses a folder without `default.nix`, the file that Nix reads in a folder. */
function importable(path: string, file: string): string {
  if (!statSync(path).isDirectory() || existsSync(join(path, 'default.nix'))) return path
  throw usageError(`the network expression '${file}' is a folder without a default.nix`, {
    hint: 'name the file in the folder',
  })
}

function similarFile(path: string): string | undefined {
  const candidates = [`${path}.nix`, path.replace(/\.nix$/, '')].filter((each) => each !== path)
  const found = candidates.find((each) => existsSync(each)) ?? undefined
  return found === undefined ? undefined : `did you mean '${found}'?`
}

/** Makes `-I` entries (`PATH`, `NAME=PATH`, a URL) independent of the current folder. */
export function absoluteEntry(entry: string, folder: string): string {
  const at = entry.indexOf('=')
  const path = entry.slice(at + 1)
  if (/^[a-z][a-z0-9+.-]*:/i.test(path)) return entry
  return `${entry.slice(0, at + 1)}${resolve(folder, path)}`
}

/** Refuses a name that Nix does not accept for a function argument. */
export function argumentName(name: string, known: readonly string[] = []): string {
  if (isNixName(name)) return name
  const close = suggest(name, known)
  throw usageError(`'${name}' is not a valid name of an argument in Nix`, {
    ...(close === undefined ? {} : { hint: `did you mean '${close}'?` }),
  })
}
