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
  /** Octal mode, as `stat -c %a` prints it. */
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
 * Directories that must exist before the units start, because ReadWritePaths names them. The modes are those of the
 * nixpkgs module, except the first. Mode 0750 would keep nginx from serving the cache below (measured).
 */
const directories: readonly Directory[] = [
  { path: hydraHome, mode: '751', user: hydra },
  { path: `${hydraHome}/www`, mode: '700', user: www },
  { path: `${hydraHome}/queue-runner`, mode: '700', user: queueRunner },
  { path: `${hydraHome}/build-logs`, mode: '750', user: queueRunner },
  { path: `${hydraHome}/runcommand-logs`, mode: '750', user: queueRunner },
  { path: gcRoots, mode: '2775', user: hydra },
]

/** Users, groups and directories of the database, the signing key and the services. */
export const hydraAccountsTask: SetupTask<AccountOptions> = {
  id: 'hydra-accounts',
  formerly: ['hydra-users'],
  title: 'users and directories of Hydra',
  after: ['nix'],
  stage: 'configure',
  debianPackages: () => [],
  wanted: (machine) => (hydraSettings(machine) === undefined ? undefined : { users: accounts, directories }),
  // The task reserves nothing: the users are in files that hydra-ops reserves on every machine.
  owns: () => [],
  async probe(host, options, run) {
    const question = {
      what: 'look at the users of Hydra',
      script: 'tasks/hydra-accounts/look',
      values: valuesOf(options),
    }
    const facts = await askMachine(host, question, run)
    const wrong = facts.get('wrong') ?? []
    if (wrong.length === 0) return 'done'
    return fact(facts, 'group') === 'absent' ? 'needed' : { drifted: wrong.join('; ') }
  },
  async apply(host, options, run) {
    const script = {
      what: 'create the users of Hydra',
      script: 'tasks/hydra-accounts/apply',
      values: valuesOf(options),
    }
    await runScript(host, script, run)
    return {}
  },
  async verify(host, options, run) {
    const question = {
      what: "query the Nix daemon as Hydra's users",
      script: 'tasks/hydra-accounts/verify',
      values: { users: options.users.map(({ name }) => name) },
      hint: 'check that nix-daemon.socket is active; the group nix-users may use this socket',
    }
    await runScript(host, question, run)
  },
}

/** Returns the values of the scripts that check and create users and folders. */
function valuesOf({ users, directories }: AccountOptions) {
  return {
    group: hydraGroup,
    socket_group: nixSocketGroup,
    users: users.map(({ name, home }) => [name, home]),
    directories: directories.map(({ path, mode, user }) => [path, mode, user]),
  }
}
