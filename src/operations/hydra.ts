import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure, usageError } from '../core/errors.js'
import { userSecretName } from '../core/hydra-users.js'
import { MachineName } from '../core/names.js'
import { nameOf, noHydra } from './hydra-machine.js'

export interface HydraAt {
  readonly machine: string
  readonly url: string
}

/** Lists the URLs of a deployment's Hydras, as its last deploy left them. */
export async function hydraUrls(ops: Ops, deployment: string | undefined): Promise<HydraAt[]> {
  const record = await ops.store.resolve(deployment)
  const found = outputsOf(record, 'hydra').flatMap(({ machine, outputs }) =>
    outputs.url === undefined ? [] : [{ machine, url: outputs.url }],
  )
  if (found.length === 0) throw noHydra(record)
  return found
}

/** Opens the deployment's only Hydra in the user's browser. */
export async function openHydra(ops: Ops, deployment: string | undefined): Promise<HydraAt> {
  const [first, ...others] = await hydraUrls(ops, deployment)
  if (first === undefined || others.length > 0)
    throw usageError('there is more than one Hydra', { hint: 'hydra-ops hydra url lists all of them' })
  const result = await ops.local.run(['xdg-open', first.url], {
    signal: ops.signal,
    timeoutMs: 30_000,
    what: 'open the browser',
  })
  if (result.kind !== 'exited' || result.code !== 0)
    throw failure('BROWSER', 'no browser could be opened', {
      hint: `open this address yourself: ${first.url}`,
    })
  return first
}

/** Returns a user's generated password; passwords from other sources are not kept. */
export async function generatedPassword(
  ops: Ops,
  deployment: string | undefined,
  user: string,
): Promise<string> {
  const record = await ops.store.resolve(deployment)
  const secrets = ops.secrets.of(record.uuid)
  for (const name of Object.keys(record.machines)) {
    const machine = MachineName.parse(name)
    const kept = await secrets.readGenerated(machine, userSecretName(user), `password of '${user}'`)
    if (kept !== undefined) return kept.trimEnd()
  }
  throw failure('SECRET', `hydra-ops generated no password for a user '${user}' of ${nameOf(record)}`, {
    hint: 'hydra-ops keeps only passwords with password.generate = true, after a deploy',
  })
}

export interface CacheAt {
  readonly machine: string
  readonly publicKey: string
  readonly url: string | undefined
}

/** Lists the binary caches of a deployment with their public keys. */
export async function caches(ops: Ops, deployment: string | undefined): Promise<CacheAt[]> {
  const record = await ops.store.resolve(deployment)
  const urls = new Map(outputsOf(record, 'nginx').map(({ machine, outputs }) => [machine, outputs.cacheUrl]))
  const found = outputsOf(record, 'cache-key').flatMap(({ machine, outputs }) =>
    outputs.publicKey === undefined
      ? []
      : [{ machine, publicKey: outputs.publicKey, url: urls.get(machine) }],
  )
  if (found.length === 0)
    throw failure('NO_CACHE', `${nameOf(record)} has no binary cache yet`, {
      hint: 'set deployment.hydra.cache.enable = true, then run hydra-ops deploy',
    })
  return found
}

/** Writes the configuration for a machine that trusts the given caches. */
export function trustSnippet(all: readonly CacheAt[]): string {
  const urls = all.flatMap(({ url }) => url ?? [])
  const keys = all.map(({ publicKey }) => publicKey)
  const list = (texts: readonly string[]) => `[ ${texts.map((text) => JSON.stringify(text)).join(' ')} ]`
  return [
    '# nix.conf',
    ...(urls.length === 0 ? [] : [`extra-substituters = ${urls.join(' ')}`]),
    `extra-trusted-public-keys = ${keys.join(' ')}`,
    '',
    '# NixOS',
    ...(urls.length === 0 ? [] : [`nix.settings.extra-substituters = ${list(urls)};`]),
    `nix.settings.extra-trusted-public-keys = ${list(keys)};`,
  ].join('\n')
}

function outputsOf(record: DeploymentRecord, task: string) {
  return Object.entries(record.machines).flatMap(([machine, { tasks }]) => {
    const outputs = tasks[task]?.outputs
    return outputs === undefined ? [] : [{ machine, outputs }]
  })
}
