import { join, relative } from 'node:path'
import type { Ops } from '../../core/context.js'
import type { MachineDefinition, NetworkDefinition } from '../../core/definition.js'
import { checkoutAt } from './git.js'
import { isWithin } from './repository.js'

interface SecretFile {
  readonly machine: string
  /** The secret in words, such as `key 'db'`. */
  readonly secret: string
  readonly file: string
}

/**
 * Names the secret files that git tracks. An evaluation from git copies these files into the world-readable Nix
 * store.
 */
export async function secretsInGit(ops: Ops, root: string, network: NetworkDefinition): Promise<string[]> {
  const files = [...network.machines.values()]
    .flatMap(secretFiles)
    .filter(({ file }) => isWithin(root, join(file)))
    .map((each) => ({ ...each, path: relative(root, each.file) }))
  if (files.length === 0) return []
  const paths = [...new Set(files.map(({ path }) => path))].sort()
  const known = new Set(await checkoutAt(ops.local, root, ops.signal).tracked(paths))
  return files
    .filter(({ path }) => known.has(path))
    .map(
      ({ machine, secret, path }) =>
        `machine '${machine}': git tracks the file ${path} of ${secret}, so every user can read it in the Nix store. Keep it out of git: git rm --cached ${path}`,
    )
}

function secretFiles({ name: machine, options }: MachineDefinition): SecretFile[] {
  const keys = Object.entries(options.keys).flatMap(([key, { keyFile }]) =>
    keyFile == null ? [] : [{ machine, secret: `key '${key}'`, file: keyFile }],
  )
  const { admin, users = {} } = ('hydra' in options ? options.hydra : undefined) ?? {}
  const passwords = [
    ...(admin == null ? [] : [[admin.userName, admin.password] as const]),
    ...Object.entries(users).map(([user, { password }]) => [user, password] as const),
  ].flatMap(([user, password]) =>
    password?.file == null ? [] : [{ machine, secret: `the password of '${user}'`, file: password.file }],
  )
  return [...keys, ...passwords]
}
