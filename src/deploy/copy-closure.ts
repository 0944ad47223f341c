import { failure } from '../core/errors.js'
import type { StorePath } from '../core/names.js'
import type { ClosureInfo } from '../core/nix.js'
import { hostOf } from '../machine/connect.js'
import { journal, recordOf, updateJob } from '../machine/machine.js'
import { writeMachineSshConfig } from '../machine/ssh-files.js'
import type { Survey } from '../systems/system.js'
import type { Job } from './job.js'

/** Bytes that must stay free in the target's /nix after the copy. */
const reserveBytes = 64 * 1024 * 1024

/**
 * Copies the closure. A copy that a power failure interrupted may leave empty files that look valid (measured). This
 * function therefore verifies and repairs the closure after such a copy.
 */
export async function copyClosure(job: Job, path: StorePath, survey: Survey): Promise<void> {
  const host = hostOf(job)
  const { nix } = job.ops
  const unfinished = recordOf(job).unfinishedCopy
  const cutOff = unfinished !== undefined && unfinished.bootId !== survey.bootId
  if (cutOff && unfinished.path !== path) await removeLeftovers(job, unfinished.path)
  const options = { sshConfig: await writeMachineSshConfig(job) }
  const closure = await nix.closure(path, job.run)
  const { paths } = closure
  const missing = await nix.missingOn(host, paths, job.run)
  const verify = job.request.check || cutOff
  if (missing.length === 0 && unfinished === undefined && !verify) return
  refuseWhenFull(job, bytesOf(closure, missing), survey)
  await updateJob(job, (draft) => {
    draft.unfinishedCopy = { path, bootId: unfinished?.bootId ?? survey.bootId }
  })
  if (missing.length > 0) {
    job.run.log(`copying ${missing.length} of ${paths.length} paths (${nix.copyMethod(host)})`)
    await journal(job, 'copy', { data: path })
    await nix.copy(
      host,
      path,
      { ...options, substitute: job.definition.options.substituteOnDestination },
      job.run,
    )
    job.changed = true
  }
  if (verify) {
    const mended = await nix.repair(host, path, options, job.run)
    if (mended.length > 0) {
      job.changed = true
      await journal(job, 'copy.repaired', { data: mended })
      job.run.log(`repaired ${mended.length} damaged ${mended.length === 1 ? 'path' : 'paths'}`)
    }
  }
  await journal(job, 'copy', { result: 'done' })
  await updateJob(job, (draft) => {
    draft.unfinishedCopy = undefined
  })
}

/** Removes broken paths that an interrupted copy of another closure left; Nix would otherwise treat them as valid. */
async function removeLeftovers(job: Job, path: StorePath): Promise<void> {
  if (!(await job.ops.nix.isBuilt(path))) {
    job.run.log(`${path} is no longer on this host; hydra-ops cannot verify the paths of its unfinished copy`)
    return
  }
  const broken = await job.ops.nix.removeBroken(hostOf(job), path, job.run)
  if (broken.length === 0) return
  job.changed = true
  await journal(job, 'copy.removed', { data: broken })
  job.run.log(`removed ${broken.length} damaged paths of an unfinished copy`)
}

export function refuseWhenFull(job: Job, bytes: number, survey: Survey): void {
  if (bytes === 0) return
  const free = survey.freeKiB * 1024
  if (bytes + reserveBytes <= free) return
  throw failure(
    'NO_ROOM',
    `machine '${job.machine}': the paths to copy need ${mebibytes(bytes)}, but /nix has only ${mebibytes(free)} free`,
    {
      machine: job.machine,
      hint: 'collect garbage on the machine (nix-store --gc), or give the machine a larger disk',
    },
  )
}

export function bytesOf(closure: ClosureInfo, paths: readonly StorePath[]): number {
  return paths.reduce((sum, path) => sum + (closure.sizes.get(path) ?? 0), 0)
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
