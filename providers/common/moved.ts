import { realpathSync } from 'node:fs'
import type { ResourceChange } from '../../src/core/provider.js'

/** The folder of the state when a machine was defined or started, and the present folder. */
export interface Move {
  readonly from: string
  readonly to: string
}

/** Returns false where the old name still leads to the same folder, as a link does. */
export function isReal({ from, to }: Move): boolean {
  try {
    return realpathSync(from) !== realpathSync(to)
  } catch {
    return true
  }
}

/** Reports that files were moved: a running guest keeps its open files, and its next start finds the new places. */
export function moveItem(move: Move | undefined, needs: ResourceChange['needs']): ResourceChange[] {
  return move === undefined || !isReal(move)
    ? []
    : [{ action: 'change', detail: `the files of the machine were moved here from ${move.from}`, needs }]
}
