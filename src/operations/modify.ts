import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { checkoutOfAll } from '../network/jobs/repository.js'
import { absoluteEntry, deploymentName, expressionPaths, nameTaken } from './create.js'

export interface ModifyRequest {
  readonly deployment: string | undefined
  readonly name: string | undefined
  /** New files; an empty list keeps the recorded ones. */
  readonly files: readonly string[]
  readonly folder: string
  /** New search path; an empty list keeps the recorded one. */
  readonly searchPath: readonly string[]
  /** Arguments to add to the recorded ones. */
  readonly args: Readonly<Record<string, string>>
  /** Whether the files are evaluated from git; undefined keeps the recorded choice. */
  readonly fromGit?: boolean | undefined
}

/** Changes the record of a deployment; its machines change at the next deploy. */
export async function modifyDeployment(ops: Ops, request: ModifyRequest): Promise<DeploymentRecord> {
  const record = await ops.store.resolve(request.deployment)
  const name = request.name === undefined ? undefined : deploymentName(request.name)
  const expressions = expressionPaths(request.files, request.folder)
  const searchPath = request.searchPath.map((entry) => absoluteEntry(entry, request.folder))
  const changes = expressions.length + searchPath.length + Object.keys(request.args).length
  if (name === undefined && request.fromGit === undefined && changes === 0) {
    throw usageError('nothing to modify', {
      hint: 'give new files, a new name (-n NAME) or a search path (-I PATH)',
    })
  }
  if (request.fromGit ?? record.fromGit === true)
    checkoutOfAll(expressions.length > 0 ? expressions : record.expressions)
  const all = await ops.store.list()
  const other = all.find((each) => each.uuid !== record.uuid && name !== undefined && each.name === name)
  if (other !== undefined) throw nameTaken(other)
  return ops.store.lock(record.uuid, async (held) => {
    await held.updateDeployment((draft) => {
      if (name !== undefined) draft.name = name
      if (expressions.length > 0) draft.expressions = expressions
      if (searchPath.length > 0) draft.searchPath = searchPath
      Object.assign(draft.args, request.args)
      if (request.fromGit !== undefined) draft.fromGit = request.fromGit
    })
    await held.journal({ event: 'modify', result: 'done' })
    return held.record
  })
}
