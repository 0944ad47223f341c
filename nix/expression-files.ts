import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { usageError } from '../src/core/errors.js'
import { shortPath } from './evaluation-errors.js'

/** Refuses files of a network expression that Nix could not open, before Nix is started. */
export function checkExpressionFiles(files: readonly string[], cwd: string): void {
  if (files.length === 0) throw usageError('this deployment has no network expression')
  for (const file of files) {
    const shown = shortPath(file, cwd)
    if (!existsSync(file)) {
      throw usageError(`the network expression ${shown} does not exist`, {
        hint: 'hydra-ops modify sets the files of the deployment',
      })
    }
    if (
      statSync(file).isDirectory() &&
      !existsSync(join(file, 'default.nix')) &&
      existsSync(join(file, 'flake.nix'))
    ) {
      throw usageError(`${shown} is a flake, which is not supported yet as a network expression`, {
        hint: 'write the network to a separate file, such as hydra.nix',
      })
    }
    if (statSync(file).isDirectory() && !existsSync(join(file, 'default.nix'))) {
      throw usageError(`the network expression ${shown} is a folder without a default.nix`)
    }
  }
}
