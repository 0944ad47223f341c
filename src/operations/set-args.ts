import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { checkEach } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'

export interface SetArgsRequest {
  readonly deployment: string | undefined
  /** Nix text per argument. */
  readonly set: Readonly<Record<string, string>>
  readonly unset: readonly string[]
}

/** Records or forgets arguments of the network expression. */
export async function setArguments(ops: Ops, request: SetArgsRequest): Promise<DeploymentRecord> {
  const record = await ops.store.resolve(request.deployment)
  if (Object.keys(request.set).length + request.unset.length === 0) {
    throw usageError('the command names no argument to set', {
      hint: 'give --arg NAME VALUE, --argstr NAME VALUE or --unset NAME; hydra-ops info shows the arguments',
    })
  }
  const known = Object.keys(record.args)
  checkEach(request.unset, (name) => {
    if (Object.hasOwn(record.args, name)) return
    const close = suggest(name, known)
    throw usageError(`the argument '${name}' is not set`, {
      hint:
        close === undefined ? `the arguments are: ${known.join(', ') || 'none'}` : `did you mean '${close}'?`,
    })
  })
  return ops.store.lock(record.uuid, async (held) => {
    await held.updateDeployment((draft) => {
      for (const name of request.unset) delete draft.args[name]
      Object.assign(draft.args, request.set)
    })
    // The journal gets only names, because values may be private.
    await held.journal({
      event: 'set-args',
      result: 'done',
      data: [...Object.keys(request.set), ...request.unset],
    })
    return held.record
  })
}
