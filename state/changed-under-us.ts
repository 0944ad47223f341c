import type { DeploymentHead } from '../src/core/deployment.js'
import { failure, type OpsError } from '../src/core/errors.js'
import type { MachineName } from '../src/core/names.js'
import { type LoadedFile, readHead, readMachine } from './state-file.js'

/**
 * Builds the error for a file that another program deleted, damaged or rewrote after the file was read. The file is
 * never recreated.
 */
export function changedUnderUs(
  root: string,
  head: DeploymentHead,
  ours: LoadedFile,
  machine?: MachineName,
): Error {
  const found = machine === undefined ? readHead(root, head.uuid) : readMachine(root, head, machine)
  const whose = `deployment '${head.name ?? head.uuid}'`
  const what = machine === undefined ? whose : `machine '${machine}' of ${whose}`
  if (found.kind === 'broken') return withMore(found.error)
  if (found.kind === 'gone') {
    return failure('STATE_CHANGED', `another command removed the state of ${what} while this command ran`, {
      hint: 'see hydra-ops history, then run the same command again',
    })
  }
  return failure(
    'STATE_CHANGED',
    `another command wrote the state of ${what} while this command ran ` +
      `(expected revision ${ours.revision}, found revision ${found.revision}); the newer state was not overwritten`,
    { hint: 'see hydra-ops history, then run the same command again' },
  )
}

function withMore(error: OpsError): OpsError {
  const { code, message, hint } = error
  return failure(
    code,
    `${message}; the state was valid when this command began, and this command writes nothing more`,
    {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    },
  )
}
