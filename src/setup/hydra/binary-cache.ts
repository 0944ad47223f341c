import { requireSuccess } from '../../core/command-result.js'
import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { SetupTask } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { hydraGroup, hydraSettings, hydraUsers } from './settings.js'

export interface BinaryCacheOptions {
  readonly directory: string
  readonly secretKeyFile: string
}

/**
 * The folder of the static cache. It is filled by Hydra itself, whose queue runner copies every finished build to its
 * `store_uri`, and signs it there: no hook, so nothing that could be missed while it is down.
 */
export const binaryCacheTask: SetupTask<BinaryCacheOptions> = {
  id: 'binary-cache',
  title: 'static binary cache',
  after: ['hydra-users', 'cache-key'],
  stage: 'configure',
  debianPackages: () => [],
  wanted(machine) {
    const settings = hydraSettings(machine)
    if (settings === undefined || !settings.options.cache.enable) return undefined
    return { directory: settings.options.cache.directory, secretKeyFile: settings.secretKeyFile }
  },
  owns: ({ directory }) => [
    { path: `${directory}/**`, instead: 'another folder, or another deployment.hydra.cache.directory' },
  ],
  async probe(host, { directory }, run) {
    const facts = await askMachine(
      host,
      { what: 'look at the cache', script: probeScript, args: [directory] },
      run,
    )
    if (fact(facts, 'directory') === '-') return 'needed'
    if (fact(facts, 'directory') !== `755 ${owner} ${hydraGroup}`)
      return { drifted: `owner or mode of ${directory} differ` }
    return fact(facts, 'store') === '/nix/store'
      ? 'done'
      : { drifted: `${directory}/nix-cache-info is not as it should be` }
  },
  async apply(host, { directory }, run) {
    await onCache(host, { what: 'make the cache', script: applyScript, directory, args: [] }, run)
    return { directory }
  },
  async verify(host, { directory, secretKeyFile }, run) {
    const what = 'write to the cache as its user'
    await onCache(host, { what, script: verifyScript, directory, args: [secretKeyFile] }, run)
  },
}

const owner = hydraUsers.queueRunner
/** Exit statuses of the scripts. */
const foreign = 3
const full = 4
/** Less than that holds no build worth the name. */
const leastMiB = 16

async function onCache(
  host: Host,
  {
    what,
    script,
    directory,
    args,
  }: {
    readonly what: string
    readonly script: string
    readonly directory: string
    readonly args: readonly string[]
  },
  run: Run,
): Promise<void> {
  const { machine } = host
  const options = { signal: run.signal, timeoutMs: scriptMs, what }
  const result = await host.script(script, [directory, ...args], options)
  if (result.kind === 'exited' && result.code === foreign) {
    throw failure(
      'CACHE',
      `machine '${machine}': ${directory} holds files that are no binary cache; it was not touched`,
      { machine, hint: 'set deployment.hydra.cache.directory to a folder that is empty, or not there yet' },
    )
  }
  if (result.kind === 'exited' && result.code === full) {
    throw failure('CACHE', `machine '${machine}': there is no room for the cache in ${directory}`, {
      machine,
      hint: 'make room there, or set deployment.hydra.cache.directory to a folder on another disk',
      detail: result.stderr.trim(),
    })
  }
  requireSuccess(result, { machine, what, hint: 'is a folder above it closed to its user?' })
}

const scriptMs = 120_000

const roomScript = `
free=$(df -Pk -- "$1" | awk 'NR == 2 { print $4 }')
if [ "$free" -lt ${leastMiB * 1024} ]; then echo "$free KiB are free" >&2; exit ${full}; fi
`

const probeScript = `
echo "directory=$(stat -Lc '%a %U %G' -- "$1" 2>/dev/null || echo -)"
echo "store=$(sed -n 's/^StoreDir: //p' "$1/nix-cache-info" 2>/dev/null)"
exit 0
`

/** The queue runner would write nix-cache-info at its start (measured); before that, nobody could ask for it. */
const applyScript = `
if [ -d "$1" ] && [ "$(stat -Lc %U -- "$1")" != ${owner} ]; then
  others=$(ls -A -- "$1" | grep -vxF lost+found)
  [ -z "$others" ] || printf '%s\\n' "$others" | grep -q '^nix-cache-info$\\|\\.narinfo$' || exit ${foreign}
fi
install -d -m 0755 -o ${owner} -g ${hydraGroup} -- "$1" || exit 1
${roomScript}
if [ "$(sed -n 's/^StoreDir: //p' "$1/nix-cache-info" 2>/dev/null)" != /nix/store ]; then
  new=$1/.nix-cache-info.hydra-ops
  printf 'StoreDir: /nix/store\\nWantMassQuery: 1\\nPriority: 40\\n' > "$new" || exit 1
  chown ${owner}:${hydraGroup} -- "$new" && chmod 0644 -- "$new" && sync "$new" || exit 1
  mv -fT -- "$new" "$1/nix-cache-info" || exit 1
fi
`

const verifyScript = `
cd /
${roomScript}
file=$1/.hydra-ops-test
runuser -u ${owner} -- sh -c 'head -c 65536 /dev/zero > "$1"' sh "$file" || { rm -f -- "$file"; exit 1; }
rm -f -- "$file"
runuser -u ${owner} -- test -r "$2" || { echo "${owner} cannot read $2" >&2; exit 1; }
runuser -u ${hydraUsers.www} -- test -r "$2" || { echo "${hydraUsers.www} cannot read $2" >&2; exit 1; }
`
