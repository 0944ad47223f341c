import { requireSuccess } from '../../core/command-result.js'
import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { SetupTask } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { targetScript } from '../../remote/target-scripts.js'
import { hydraGroup, hydraUsers, oneShotSettings } from './settings.js'

export interface BinaryCacheOptions {
  readonly directory: string
  readonly secretKeyFile: string
}

/**
 * The folder of the static cache. Hydra itself fills the folder: its queue runner copies every finished build to its
 * `store_uri`, and signs the copy there. No hook is involved that could miss a build.
 */
export const binaryCacheTask: SetupTask<BinaryCacheOptions> = {
  id: 'binary-cache',
  title: 'static binary cache',
  after: ['hydra-accounts', 'cache-key'],
  stage: 'configure',
  debianPackages: () => [],
  wanted(machine) {
    const settings = oneShotSettings(machine, 'binary-cache')
    if (settings === undefined || !settings.options.cache.enable) return undefined
    return { directory: settings.options.cache.directory, secretKeyFile: settings.secretKeyFile }
  },
  owns: ({ directory }) => [
    { path: `${directory}/**`, instead: 'another folder, or another deployment.hydra.cache.directory' },
  ],
  async probe(host, { directory }, run) {
    const question = { what: 'look at the cache', script: 'tasks/binary-cache/look', values: { directory } }
    const facts = await askMachine(host, question, run)
    if (fact(facts, 'directory') === '-') return 'needed'
    if (fact(facts, 'directory') !== `755 ${owner} ${hydraGroup}`)
      return { drifted: `owner or mode of ${directory} differs` }
    return fact(facts, 'store') === '/nix/store' ? 'done' : { drifted: `${directory}/nix-cache-info differs` }
  },
  async apply(host, { directory }, run) {
    const values = { directory, owner, group: hydraGroup, least_kib: leastKiB }
    const script = targetScript('tasks/binary-cache/apply', values)
    await onCache(host, { what: 'make the cache', script, directory }, run)
    return { directory }
  },
  async verify(host, { directory, secretKeyFile }, run) {
    const values = { directory, owner, www: hydraUsers.www, secret: secretKeyFile, least_kib: leastKiB }
    const script = targetScript('tasks/binary-cache/verify', values)
    await onCache(host, { what: 'write to the cache as its user', script, directory }, run)
  },
}

const owner = hydraUsers.queueRunner
/** Exit statuses of the scripts. */
const foreign = 3
const full = 4
/** Minimum free space; a disk with less has no room for any real build. */
const leastKiB = 16 * 1024

async function onCache(
  host: Host,
  { what, script, directory }: { readonly what: string; readonly script: string; readonly directory: string },
  run: Run,
): Promise<void> {
  const { machine } = host
  const options = { signal: run.signal, timeoutMs: scriptMs, what }
  const result = await host.script(script, [], options)
  if (result.kind === 'exited' && result.code === foreign) {
    throw failure(
      'CACHE',
      `machine '${machine}': ${directory} holds files that do not belong to a binary cache; it was not touched`,
      { machine, hint: 'set deployment.hydra.cache.directory to an empty or new folder' },
    )
  }
  if (result.kind === 'exited' && result.code === full) {
    throw failure(
      'CACHE',
      `machine '${machine}': there is not enough free space for the cache in ${directory}`,
      {
        machine,
        hint: 'free some space, or set deployment.hydra.cache.directory to a folder on another disk',
        detail: result.stderr.trim(),
      },
    )
  }
  requireSuccess(result, {
    machine,
    what,
    hint: 'check that hydra-queue-runner may enter each parent folder of the cache',
  })
}

const scriptMs = 120_000
