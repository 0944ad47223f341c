import type { SetupTask } from '../../core/setup-task.js'
import { askMachine, fact, runScript } from '../remote-script.js'
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
    await runScript(host, { what: 'make the cache', script: applyScript, args: [directory] }, run)
    return { directory }
  },
  async verify(host, { directory, secretKeyFile }, run) {
    const hint = 'is a folder above it closed to its user?'
    const args = [directory, secretKeyFile]
    await runScript(host, { what: 'write to the cache as its user', script: verifyScript, args, hint }, run)
  },
}

const owner = hydraUsers.queueRunner

const probeScript = `
echo "directory=$(stat -c '%a %U %G' -- "$1" 2>/dev/null || echo -)"
echo "store=$(sed -n 's/^StoreDir: //p' "$1/nix-cache-info" 2>/dev/null)"
exit 0
`

/** The queue runner would write nix-cache-info at its start (measured); before that, nobody could ask for it. */
const applyScript = `
install -d -m 0755 -o ${owner} -g ${hydraGroup} -- "$1" || exit 1
if [ "$(sed -n 's/^StoreDir: //p' "$1/nix-cache-info" 2>/dev/null)" != /nix/store ]; then
  new=$1/.nix-cache-info.hydra-ops
  printf 'StoreDir: /nix/store\\nWantMassQuery: 1\\nPriority: 40\\n' > "$new" || exit 1
  chown ${owner}:${hydraGroup} -- "$new" && chmod 0644 -- "$new" && sync "$new" || exit 1
  mv -fT -- "$new" "$1/nix-cache-info" || exit 1
fi
`

const verifyScript = `
cd /
file=$1/.hydra-ops-test
runuser -u ${owner} -- touch -- "$file" || exit 1
rm -f -- "$file"
runuser -u ${owner} -- test -r "$2" || { echo "${owner} cannot read $2" >&2; exit 1; }
runuser -u ${hydraUsers.www} -- test -r "$2" || { echo "${hydraUsers.www} cannot read $2" >&2; exit 1; }
`
