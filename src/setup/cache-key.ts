import { posix } from 'node:path'
import { commandFailure, requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskMachine, TaskState } from '../core/setup-task.js'
import type { CommandResult, Host } from '../core/ssh.js'
import { type HydraSettings, hydraGroup, hydraSettings, signs } from './hydra/settings.js'
import { verifyNarInfo } from './narinfo-signature.js'

export interface CacheKeyOptions {
  /** What an existing key must be called; undefined = any name will do. */
  readonly keyName: string | undefined
  /** The name of a new one. */
  readonly newName: string
  readonly secretFile: string
  readonly publicFile: string
  /** The folder of both where it is ours; in one that the user chose, nothing but the files is touched. */
  readonly directory: string | undefined
  readonly group: string
}

const probeMs = 120_000
/** A guest without entropy or under emulation takes its time. */
const applyMs = 300_000

/** The pair of keys that signs what this machine's binary cache serves. */
export const cacheKeyTask: SetupTask<CacheKeyOptions> = {
  id: 'cache-key',
  title: 'signing key of the binary cache',
  after: ['nix', 'hydra-users'],
  irreplaceable: 'the secret key of the binary cache',
  stage: 'configure',
  debianPackages: () => ['nix-bin'],
  wanted: wantedCacheKey,
  owns: ({ secretFile, publicFile }) => [
    // An existing key is taken, so it may come as one of deployment.keys.
    { path: secretFile, instead: 'deployment.keys, if the key is to be yours', takesKey: true },
    { path: publicFile, instead: 'no file: it follows from the secret key' },
  ],
  probe: async (host, options, run) => stateOf(await look(host, options, run), options),
  apply: applyCacheKey,
  verify: verifyCacheKey,
}

function wantedCacheKey(machine: TaskMachine): CacheKeyOptions | undefined {
  const { definition, deployment } = machine
  const { enable, keyName, directory, group } = definition.options.cacheKey
  // Nix separates name and key by a colon, and by custom the name ends in a number that rotation counts up.
  const named = (name: string | null | undefined) => ({
    keyName: name ?? undefined,
    newName: name ?? `${deployment}-${definition.name}-1`,
  })
  const hydra = hydraSettings(machine)
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

/** Where tutorials of Hydra have it; the queue runner and the web server sign, both of Hydra's group. */
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
  /** `broken` = something else than a Nix key. */
  readonly secret: 'absent' | 'broken' | 'key'
  /** The name of a key that is one. */
  readonly name: string
  /** `NAME:BASE64`, as the secret key has it and as the public file has it. */
  readonly derived: string
  readonly published: string
  /** `MODE GROUP` of directory, secret and public file. */
  readonly modes: readonly string[]
}

async function look(host: Host, options: CacheKeyOptions, run: Run): Promise<SeenKeys> {
  const what = 'look at the signing key'
  const result = await host.script(
    probeScript,
    [options.secretFile, options.publicFile, options.directory ?? ''],
    {
      signal: run.signal,
      timeoutMs: probeMs,
      what,
    },
  )
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  const [kind = '', derived = '', published = '', ...modes] = stdout.split('\n')
  return {
    secret: kind === 'key' || kind === 'broken' ? kind : 'absent',
    name: derived.split(':')[0] ?? '',
    derived,
    published,
    modes: modes.slice(0, 3),
  }
}

function stateOf(seen: SeenKeys, options: CacheKeyOptions): TaskState {
  if (seen.secret === 'absent') {
    return seen.published === '' ? 'needed' : { drifted: 'the secret key is gone', lost: true }
  }
  if (seen.secret === 'broken') return { drifted: 'the secret key is not a key' }
  if (options.keyName !== undefined && seen.name !== options.keyName) {
    return { drifted: `the key is called ${seen.name}` }
  }
  if (seen.published !== seen.derived) return { drifted: 'the public key does not belong to the secret one' }
  const directory = options.directory === undefined ? '-' : `750 root ${options.group}`
  const wanted = [directory, `640 root ${options.group}`, '644 root root']
  return wanted.every((mode, index) => mode === seen.modes[index])
    ? 'done'
    : { drifted: 'owner, group or mode differ' }
}

/** Makes a key where there is none, and for one that is there only what belongs to it: it is never made anew. */
async function applyCacheKey(
  host: Host,
  options: CacheKeyOptions,
  run: Run,
): Promise<Record<string, string>> {
  const seen = await look(host, options, run)
  refuseForeignKey(host, seen, options)
  const what = 'make the signing key'
  const { secretFile, publicFile, directory = '', newName, group } = options
  const args = [secretFile, publicFile, directory, newName, group]
  const result = await host.script(applyScript, args, { signal: run.signal, timeoutMs: applyMs, what })
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
    hint: 'it names who may sign (deployment.cacheKey.group), and must exist on the machine',
  })
}

/** Signs a store path on the machine, and checks the signature here with the public key it showed. */
async function verifyCacheKey(host: Host, options: CacheKeyOptions, run: Run): Promise<void> {
  const what = 'sign a store path'
  // The key's path becomes part of a store URL.
  const secretKey = encodeURIComponent(options.secretFile)
  const result: CommandResult = await host.script(signScript, [secretKey], {
    signal: run.signal,
    timeoutMs: applyMs,
    what,
  })
  if (result.kind !== 'exited' || result.code !== 0)
    throw commandFailure(result, { machine: host.machine, what })
  const { derived } = await look(host, options, run)
  if (verifyNarInfo(result.stdout, derived)) return
  throw failure(
    'CACHE_KEY',
    `machine '${host.machine}': what the key signs does not verify with its public key`,
    {
      machine: host.machine,
    },
  )
}

/** Exit status of the script when the group is missing. */
const noGroup = 3

/**
 * sh functions. A Nix secret key is \`NAME:BASE64\` of 64 bytes, the last 32 of which are the public key
 * (libsodium's crypto_sign). Nothing of it leaves the machine or stands on a command line.
 */
const keyFunctions = `
decoded() { tr -d '\\n' < "$1" | cut -d: -f2- | base64 -d 2>/dev/null; }
is_key() { grep -q '^[^:[:space:]][^:[:space:]]*:' "$1" && [ "$(decoded "$1" | wc -c)" -eq 64 ]; }
public_of() { printf '%s:%s\\n' "$(head -n 1 "$1" | cut -d: -f1)" "$(decoded "$1" | tail -c 32 | base64 -w0)"; }
`

const probeScript = `
${keyFunctions}
secret=$1 public=$2 directory=$3
if [ ! -s "$secret" ]; then printf 'absent\\n\\n'
elif is_key "$secret"; then echo key; public_of "$secret"
else printf 'broken\\n\\n'
fi
echo "$(head -n 1 -- "$public" 2>/dev/null)"
for file in "$directory" "$secret" "$public"; do stat -c '%a %U %G' -- "$file" 2>/dev/null || echo -; done
`

/** The public file is always derived from the secret one, so a crash between the two leaves nothing wrong. */
const applyScript = `
${keyFunctions}
secret=$1 public=$2 directory=$3 name=$4 group=$5
folder=$(dirname -- "$secret")
getent group -- "$group" > /dev/null || exit ${noGroup}
umask 022
mkdir -p -- "$folder" "$(dirname -- "$public")" || exit 1
umask 077
staged=$folder/.hydra-ops-new
rm -rf -- "$staged"
mkdir -- "$staged" || exit 1
trap 'rm -rf -- "$staged"' EXIT
if [ ! -s "$secret" ]; then
  nix-store --generate-binary-cache-key "$name" "$staged/secret" "$staged/unused" || exit 1
  is_key "$staged/secret" || exit 1
  chown "root:$group" "$staged/secret" && chmod 0640 "$staged/secret" || exit 1
  sync "$staged/secret"
  mv -fT -- "$staged/secret" "$secret" || exit 1
fi
public_of "$secret" > "$staged/public" && chmod 0644 "$staged/public" || exit 1
sync "$staged/public"
mv -fT -- "$staged/public" "$public" || exit 1
chown root:root -- "$public" && chown "root:$group" -- "$secret" && chmod 0640 -- "$secret" || exit 1
if [ -n "$directory" ]; then chown "root:$group" -- "$directory" && chmod 0750 -- "$directory" || exit 1; fi
sync "$folder"
`

/**
 * Nix has no stable command that signs; a copy into a cache with \`secret-key\` does (the one experimental
 * command this project allows itself). The path is tiny, always the same, and left to the garbage collector.
 */
const signScript = `
work=$(mktemp -d) || exit 1
trap 'rm -rf -- "$work"' EXIT
echo 'signed by hydra-ops to prove its key' > "$work/hydra-ops-signature-test"
path=$(nix-store --add "$work/hydra-ops-signature-test") || exit 1
nix --extra-experimental-features nix-command copy \\
  --to "file://$work/cache?compression=none&secret-key=$1" "$path" > /dev/null || exit 1
cat "$work"/cache/*.narinfo
`
