import { posix } from 'node:path'
import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskMachine, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact, runScript } from '../remote/run-script.js'
import { targetScript } from '../remote/target-scripts.js'
import { type HydraSettings, hydraGroup, oneShotSettings, signs } from './hydra/settings.js'
import { verifyNarInfo } from './narinfo-signature.js'

export interface CacheKeyOptions {
  /** Required name of an existing key; `undefined` allows any name. */
  readonly keyName: string | undefined
  /** Name for a new key. */
  readonly newName: string
  readonly secretFile: string
  readonly publicFile: string
  /**
   * Folder of both files if hydra-ops owns the folder. The task touches only the files in a folder of the user's
   * choice.
   */
  readonly directory: string | undefined
  readonly group: string
}

const probeMs = 120_000
/** Deadline for the key's creation; a guest without entropy or under emulation is slow. */
const applyMs = 300_000

/** The key pair that signs the contents of this machine's binary cache. */
export const cacheKeyTask: SetupTask<CacheKeyOptions> = {
  id: 'cache-key',
  title: 'signing key of the binary cache',
  after: ['nix', 'hydra-accounts'],
  irreplaceable: 'the secret key of the binary cache',
  stage: 'configure',
  debianPackages: () => ['nix-bin'],
  wanted: wantedCacheKey,
  owns: ({ secretFile, publicFile }) => [
    // An existing secret key is accepted, so the key may come from deployment.keys.
    { path: secretFile, instead: 'deployment.keys to deliver a key of your own', takesKey: true },
    { path: publicFile, instead: 'no file: the public key follows from the secret key' },
  ],
  probe: probeCacheKey,
  apply: applyCacheKey,
  verify: verifyCacheKey,
}

function wantedCacheKey(machine: TaskMachine): CacheKeyOptions | undefined {
  const { definition, deployment } = machine
  const { enable, keyName, directory, group } = definition.options.cacheKey
  // Nix separates name and key with a colon. The name conventionally ends in a number, which each rotation
  // increments.
  const named = (name: string | null | undefined) => ({
    keyName: name ?? undefined,
    newName: name ?? `${deployment}-${definition.name}-1`,
  })
  const hydra = oneShotSettings(machine, 'cache-key')
  if (hydra !== undefined && signs(hydra))
    return { ...named(hydra.options.cache.keyName), ...keyOfHydra(hydra) }
  if (!enable) return undefined
  return {
    ...named(keyName),
    directory,
    secretFile: `${directory}/cache.sec`,
    publicFile: `${directory}/cache.pub`,
    group,
  }
}

/**
 * Places the key where Hydra tutorials have it. The queue runner and the web server sign, and both are in Hydra's
 * group.
 */
function keyOfHydra({ options, secretKeyFile, publicKeyFile }: HydraSettings) {
  const directory = posix.dirname(secretKeyFile)
  const ours = options.cache.secretKeyFile == null && posix.dirname(publicKeyFile) === directory
  return {
    secretFile: secretKeyFile,
    publicFile: publicKeyFile,
    directory: ours ? directory : undefined,
    group: hydraGroup,
  }
}

interface SeenKeys {
  /** State of the secret file; `broken` means that the file does not contain a Nix key. */
  readonly secret: 'absent' | 'broken' | 'key'
  /** Name of the key, if the file contains a key. */
  readonly name: string
  /** Public key as `NAME:BASE64`, derived from the secret key and read from the public file. */
  readonly derived: string
  readonly published: string
  /** Mode and group of directory, secret and public file, each as `MODE GROUP`. */
  readonly modes: readonly string[]
}

/** Places of a key pair. */
type KeyPlaces = Pick<CacheKeyOptions, 'secretFile' | 'publicFile'> & Partial<CacheKeyOptions>

async function look(host: Host, options: KeyPlaces, run: Run): Promise<SeenKeys> {
  const question = {
    what: 'look at the signing key',
    script: 'tasks/cache-key/look',
    values: placesOf(options),
    timeoutMs: probeMs,
  }
  const facts = await askMachine(host, question, run)
  const kind = fact(facts, 'secret')
  const derived = fact(facts, 'derived')
  return {
    secret: kind === 'key' || kind === 'broken' ? kind : 'absent',
    name: derived.split(':')[0] ?? '',
    derived,
    published: fact(facts, 'published'),
    modes: facts.get('mode') ?? [],
  }
}

/** Returns the state of a signing key and of its files. */
export async function probeCacheKey(host: Host, options: CacheKeyOptions, run: Run): Promise<TaskState> {
  return stateOf(await look(host, options, run), options)
}

/** Reads the public key that belongs to the secret key of the machine; an empty text means that there is no key. */
export async function publicKeyOf(host: Host, options: KeyPlaces, run: Run): Promise<string> {
  return (await look(host, options, run)).derived
}

function placesOf({ secretFile, publicFile, directory = '' }: KeyPlaces) {
  return { secret: secretFile, public: publicFile, directory }
}

function stateOf(seen: SeenKeys, options: CacheKeyOptions): TaskState {
  if (seen.secret === 'absent') {
    return seen.published === '' ? 'needed' : { drifted: 'the secret key is missing', lost: true }
  }
  if (seen.secret === 'broken') return { drifted: 'the file of the secret key holds no valid key' }
  if (options.keyName !== undefined && seen.name !== options.keyName) {
    return { drifted: `the name of the key is ${seen.name}, not ${options.keyName}` }
  }
  if (seen.published !== seen.derived) return { drifted: 'the public key does not belong to the secret key' }
  const directory = options.directory === undefined ? '-' : `750 root ${options.group}`
  const wanted = [directory, `640 root ${options.group}`, '644 root root']
  return wanted.every((mode, index) => mode === seen.modes[index])
    ? 'done'
    : { drifted: 'owner, group or mode differs' }
}

/** Creates a missing key; completes the files of an existing key, and never replaces the key itself. */
export async function applyCacheKey(
  host: Host,
  options: CacheKeyOptions,
  run: Run,
): Promise<Record<string, string>> {
  const seen = await look(host, options, run)
  refuseForeignKey(host, seen, options)
  const what = 'create the signing key'
  const { secretFile, newName, group } = options
  const script = targetScript('tasks/cache-key/apply', { ...placesOf(options), name: newName, group })
  const result = await host.script(script, [], { signal: run.signal, timeoutMs: applyMs, what })
  if (result.kind === 'exited' && result.code === noGroup) throw missingGroup(host, options)
  requireSuccess(result, { machine: host.machine, what })
  const { derived } = await look(host, options, run)
  run.log(`public key: ${derived}`)
  return { publicKey: derived, secretKeyFile: secretFile }
}

function refuseForeignKey(host: Host, seen: SeenKeys, options: CacheKeyOptions): void {
  const file = options.secretFile
  const facts = {
    machine: host.machine,
    hint: `move ${file} away on the machine to get a new key, then deploy again`,
  }
  if (seen.secret === 'broken') {
    throw failure(
      'CACHE_KEY',
      `machine '${host.machine}': ${file} is not a Nix signing key; it was not touched`,
      facts,
    )
  }
  if (seen.secret === 'key' && options.keyName !== undefined && seen.name !== options.keyName) {
    throw failure(
      'CACHE_KEY',
      `machine '${host.machine}': ${file} holds the key ${seen.name}, not ${options.keyName}; it was not touched`,
      facts,
    )
  }
}

function missingGroup(host: Host, options: CacheKeyOptions): Error {
  return failure('CACHE_KEY', `machine '${host.machine}': group '${options.group}' does not exist`, {
    machine: host.machine,
    hint: 'create the group on the machine; deployment.cacheKey.group names the group that may sign',
  })
}

/** Signs a store path on the machine, and checks the signature here with the machine's public key. */
export async function verifyCacheKey(host: Host, options: CacheKeyOptions, run: Run): Promise<void> {
  const sign = {
    what: 'sign a store path',
    script: 'tasks/cache-key/sign',
    values: { secret_url: encodeURIComponent(options.secretFile) },
    timeoutMs: applyMs,
  }
  const { stdout } = await runScript(host, sign, run, () => {})
  if (verifyNarInfo(stdout, await publicKeyOf(host, options, run))) return
  throw failure(
    'CACHE_KEY',
    `machine '${host.machine}': a signature made with the secret key does not match the public key`,
    {
      machine: host.machine,
    },
  )
}

/** Exit status of the script when the group is missing. */
const noGroup = 3
