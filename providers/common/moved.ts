import { realpathSync } from 'node:fs'
import { failure, type OpsError } from '../../src/core/errors.js'
import { stateFolderOf } from '../../src/core/moved-paths.js'
import type { Resource, ResourceChange } from '../../src/core/provider.js'

/** Path of the state folder when a machine was defined or started, and the current path. */
export interface Move {
  readonly from: string
  readonly to: string
}

/** Finds the move of the state folder since `path` was recorded, if any. */
export function moveSince(
  path: string | undefined,
  { deployment, disks }: Pick<Resource<unknown, unknown, unknown>, 'deployment' | 'disks'>,
): Move | undefined {
  const from = path === undefined ? undefined : stateFolderOf(path, deployment.uuid)
  const to = stateFolderOf(disks, deployment.uuid)
  return from === undefined || to === undefined || from === to ? undefined : { from, to }
}

/**
 * Creates the error for a guest that runs on files other than the state's files. The guest's writes would otherwise be
 * lost.
 */
export function runsElsewhere(machine: string, file: string, wanted: string): OpsError {
  return failure(
    'RUNS_ELSEWHERE',
    `machine '${machine}' runs on ${file}, but the state names another file, ${wanted}`,
    {
      machine,
      hint:
        'the state folder was copied or moved to another disk while the machine ran; move the folder back, ' +
        `run hydra-ops stop --on ${machine}, then move the folder again`,
    },
  )
}

/** Returns false if the old name still leads to the same folder, for example through a symbolic link. */
export function isReal({ from, to }: Move): boolean {
  try {
    return realpathSync(from) !== realpathSync(to)
  } catch {
    return true
  }
}

/**
 * Reports that files were moved. A running guest keeps its open files, and its next start uses the new places.
 */
export function moveItem(move: Move | undefined, needs: ResourceChange['needs']): ResourceChange[] {
  return move === undefined || !isReal(move)
    ? []
    : [{ action: 'change', detail: `the files of the machine were moved here from ${move.from}`, needs }]
}
