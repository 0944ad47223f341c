import type { SetupTask } from '../../core/setup-task.js'
import { askMachine, fact, runScript } from '../../remote/run-script.js'
import { gcRoots, hydraGroup, hydraHome, hydraSettings, hydraUsers, nixSocketGroup } from './settings.js'

interface AccountOptions {
  readonly users: readonly Account[]
  readonly directories: readonly Directory[]
}

interface Account {
  readonly name: string
  readonly home: string
}

interface Directory {
  readonly path: string
  /** Octal, as `stat -c %a` prints it. */
  readonly mode: string
  readonly user: string
}

const { hydra, queueRunner, www } = hydraUsers

const accounts: readonly Account[] = [
  { name: hydra, home: hydraHome },
  { name: queueRunner, home: `${hydraHome}/queue-runner` },
  { name: www, home: `${hydraHome}/www` },
]

/**
 * All must exist before the units start, which name them in ReadWritePaths. Modes as nixpkgs' module has them, but
 * the first: with 0750 nginx could not serve the cache below it (measured).
 */
const directories: readonly Directory[] = [
  { path: hydraHome, mode: '751', user: hydra },
  { path: `${hydraHome}/www`, mode: '700', user: www },
  { path: `${hydraHome}/queue-runner`, mode: '700', user: queueRunner },
  { path: `${hydraHome}/build-logs`, mode: '750', user: queueRunner },
  { path: `${hydraHome}/runcommand-logs`, mode: '750', user: queueRunner },
  { path: gcRoots, mode: '2775', user: hydra },
]

/** Users, groups and directories, which the database, the signing key and the services need. */
export const hydraAccountsTask: SetupTask<AccountOptions> = {
  id: 'hydra-users',
  title: 'users and directories of Hydra',
  after: ['nix'],
  stage: 'configure',
  debianPackages: () => [],
  wanted: (machine) => (hydraSettings(machine) === undefined ? undefined : { users: accounts, directories }),
  // Their users stand in files that hydra-ops reserves on every machine.
  owns: () => [],
  async probe(host, options, run) {
    const what = 'look at the users of Hydra'
    const facts = await askMachine(host, { what, script: probeScript, args: argsOf(options) }, run)
    const wrong = facts.get('wrong') ?? []
    if (wrong.length === 0) return 'done'
    return fact(facts, 'group') === 'absent' ? 'needed' : { drifted: wrong.join('; ') }
  },
  async apply(host, options, run) {
    await runScript(
      host,
      { what: 'make the users of Hydra', script: applyScript, args: argsOf(options) },
      run,
    )
    return {}
  },
  async verify(host, options, run) {
    const args = options.users.map(({ name }) => name)
    const hint = 'its group nix-users may use the socket of the Nix daemon; is nix-daemon.socket active?'
    await runScript(
      host,
      { what: "ask the Nix daemon as Hydra's users", script: verifyScript, args, hint },
      run,
    )
  },
}

function argsOf({ users, directories }: AccountOptions): string[] {
  return [
    ...users.map(({ name, home }) => `user:${name}:${home}`),
    ...directories.map(({ path, mode, user }) => `directory:${mode}:${user}:${path}`),
  ]
}

const group = hydraGroup
const socketGroup = nixSocketGroup

const probeScript = `
getent group ${group} > /dev/null || echo group=absent
for each do
  IFS=: read -r kind first second third <<END
$each
END
  case $kind in
    user)
      if ! id -u -- "$first" > /dev/null 2>&1; then echo "wrong=user $first is missing"
      elif [ "$(id -gn -- "$first")" != ${group} ]; then echo "wrong=user $first is not of group ${group}"
      elif ! id -Gn -- "$first" | tr ' ' '\\n' | grep -qx ${socketGroup}; then echo "wrong=user $first is not in group ${socketGroup}"
      fi ;;
    directory)
      seen=$(stat -Lc '%a %U %G' -- "$third" 2>/dev/null) || seen=missing
      [ "$seen" = "$first $second ${group}" ] || echo "wrong=$third is $seen" ;;
  esac
done
exit 0
`

/** \`install -d\` sets owner and mode also of a directory that is there; what is in it stays as it is. */
const applyScript = `
getent group ${group} > /dev/null || groupadd --system ${group} || exit 1
getent group ${socketGroup} > /dev/null || groupadd --system ${socketGroup} || exit 1
for each do
  IFS=: read -r kind first second third <<END
$each
END
  [ "$kind" = user ] || continue
  id -u -- "$first" > /dev/null 2>&1 ||
    useradd --system --gid ${group} --home-dir "$second" --no-create-home --shell /usr/sbin/nologin -- "$first" || exit 1
  [ "$(id -gn -- "$first")" = ${group} ] || usermod --gid ${group} -- "$first" || exit 1
  usermod --append --groups ${socketGroup} -- "$first" || exit 1
done
for each do
  IFS=: read -r kind first second third <<END
$each
END
  [ "$kind" = directory ] || continue
  install -d -m "$first" -o "$second" -g ${group} -- "$third" || exit 1
done
`

const verifyScript = `
cd /
for user do
  runuser -u "$user" -- env NIX_REMOTE=daemon nix-store --check-validity --print-invalid \\
    /nix/store/00000000000000000000000000000000-hydra-ops > /dev/null || { echo "user $user cannot use the Nix daemon" >&2; exit 1; }
done
`
