import { sshSettings } from '../../core/builder-entries.js'
import { cachesTask, cacheUser } from '../../core/builder-offer.js'
import { failure, messageOf, OpsError } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import type { PlacedFile } from '../../remote/place-files.js'
import { runScript } from '../../remote/run-script.js'
import {
  cachesFile,
  type FurtherSettings,
  lookAtSettings,
  removeSettings,
  settingsFaults,
  writeSettings,
} from '../nix-settings.js'
import { loginValues } from './builders-task.js'
import { loginFailure } from './login-failure.js'
import { type CacheUse, cacheUse, type UsedCache } from './relations.js'

/** File with ssh settings for logins of the daemon; the system's ssh_config(5) includes the file on Debian. */
export const cachesSshFile = '/etc/ssh/ssh_config.d/hydra-ops-builder-caches.conf'

/** Deadline for one login; a login on an emulated guest takes seconds. */
const loginMs = 180_000

/** The builders from which a machine fetches, and the proof that each builder serves signed paths. */
export const builderCachesTask: SetupTask<CacheUse> = {
  id: cachesTask,
  title: 'caches of the builders',
  after: ['nix', 'builders'],
  stage: 'use',
  debianPackages: () => ['openssh-client'],
  wanted: cacheUse,
  owns: () => [
    { path: cachesFile, instead: 'deployment.nix.substituters' },
    { path: cachesSshFile, instead: 'a file with another name in the same folder' },
  ],
  traces: ({ caches }) => ({ caches: namesOf(caches) }),
  probe: probeCaches,
  apply: applyCaches,
  verify: verifyCaches,
}

/**
 * Returns the address of a cache, in the form of Nix's settings. Nix queries public caches (priority 40) before the
 * builder.
 */
export function substituter({ key }: Pick<CacheUse, 'key'>, { host, hostKey }: UsedCache): string {
  const coded = (text: string) => encodeURIComponent(text).replaceAll('%2F', '/')
  const hostKeyFile = Buffer.from(`${hostKey}\n`).toString('base64')
  return `ssh-ng://${cacheUser}@${host}?priority=50&ssh-key=${coded(key.file)}&base64-ssh-public-host-key=${coded(hostKeyFile)}`
}

/**
 * Returns the Nix settings, including `fallback`; a builder that is down would otherwise make every build fail
 * (measured).
 */
export function cachesSettings(use: CacheUse): string {
  const keys = [...new Set(use.caches.map(({ publicKey }) => publicKey))]
  return `# Written by hydra-ops (set-up task "${cachesTask}"); changes made here are overwritten.
extra-substituters = ${use.caches.map((cache) => substituter(use, cache)).join(' ')}
extra-trusted-public-keys = ${keys.join(' ')}
fallback = true
`
}

function sshFile({ caches }: CacheUse): PlacedFile {
  const logins = caches.map(({ host, port }) => ({ user: cacheUser, host, port, connectTimeout: 20 }))
  const content = sshSettings(logins, cachesTask)
  return { path: cachesSshFile, content, mode: 0o644, user: 'root', group: 'root' }
}

function settingsOf(use: CacheUse): FurtherSettings {
  return { file: cachesFile, content: cachesSettings(use), others: [sshFile(use)] }
}

async function probeCaches(host: Host, use: CacheUse, run: Run): Promise<TaskState> {
  const settings = settingsOf(use)
  const seen = await lookAtSettings(host, settings, run)
  if (use.caches.length === 0)
    return [seen.settings, ...seen.others].every((hash) => hash === '-') && !seen.due
      ? 'done'
      : { drifted: 'the machine fetches from no builder any more' }
  if (seen.settings === '-') return 'needed'
  const faults = settingsFaults(seen, settings)
  return faults.length === 0 ? 'done' : { drifted: faults.join('; ') }
}

async function applyCaches(host: Host, use: CacheUse, run: Run): Promise<Record<string, string>> {
  for (const name of use.awaited)
    run.log(`machine '${name}' has no cache for this machine yet: deploy '${name}' too`)
  if (use.caches.length > 0) await writeSettings(host, settingsOf(use), run)
  else await removeSettings(host, settingsOf(use), run)
  return { caches: namesOf(use.caches) }
}

function namesOf(caches: CacheUse['caches']): string {
  return caches.map(({ machine }) => machine).join(',')
}

/** Logs in to each cache as the daemon does. Then lets the daemon fetch a path that only the builder has. */
async function verifyCaches(host: Host, use: CacheUse, run: Run): Promise<void> {
  for (const cache of use.caches) {
    const builder = { ...cache, user: cacheUser }
    const key = { file: use.key.file, user: 'root' }
    const what = `log in to the cache of builder '${cache.machine}' as root`
    const ping = {
      what,
      script: 'tasks/builders/ping',
      values: loginValues({ key }, builder, 'ssh-ng'),
      timeoutMs: loginMs,
    }
    try {
      await runScript(host, ping, run, () => {})
    } catch (error) {
      throw loginFailure(error, { machine: host.machine, what, builder, key })
    }
    await fetchSample(host, use, cache, run)
    run.log(`fetched ${cache.sample} from builder '${cache.machine}', signed by ${nameOf(cache)}`)
  }
}

async function fetchSample(host: Host, use: CacheUse, cache: UsedCache, run: Run): Promise<void> {
  const fetch = {
    what: `fetch a path from builder '${cache.machine}'`,
    script: 'tasks/builder-caches/fetch',
    values: { path: cache.sample, substituter: substituter(use, cache) },
    timeoutMs: loginMs,
  }
  try {
    await runScript(host, fetch, run, () => {})
  } catch (error) {
    throw fetchFailure(error, host, cache)
  }
}

function fetchFailure(error: unknown, { machine }: Host, cache: UsedCache): unknown {
  if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') return error
  const said = [messageOf(error), error.detail ?? ''].join('\n')
  const [why, hint]: readonly [string, string] = /not signed by any of the keys/.test(said)
    ? [
        `the signature was not made with the key ${nameOf(cache)}`,
        `deploy '${cache.machine}': its set-up task 'builder-cache' reports the current key`,
      ]
    : /the settings of Nix do not name/.test(said)
      ? [
          `its Nix does not read ${cachesFile}`,
          `run hydra-ops setup run nix --redo; a NixOS machine gets the line by a deploy`,
        ]
      : /and cannot delete it/.test(said)
        ? [
            `${cache.sample} is already in the store, so nothing would be fetched`,
            `the last lines show what keeps the path; once the path is free, run hydra-ops setup verify --on ${machine}`,
          ]
        : [
            error.detail?.split('\n').at(-1) ?? error.message,
            `run hydra-ops setup verify --on ${cache.machine}; if that succeeds, the Nix daemon of '${machine}' does not reach '${cache.machine}' by ssh as root`,
          ]
  return failure(
    'BUILDER_CACHE',
    `machine '${machine}' cannot fetch from builder '${cache.machine}': ${why}`,
    {
      machine,
      cause: error,
      hint,
      ...(error.detail === undefined ? {} : { detail: error.detail }),
    },
  )
}

/** Returns the name of a cache's key. */
function nameOf({ publicKey }: UsedCache): string {
  return publicKey.split(':')[0] ?? ''
}
