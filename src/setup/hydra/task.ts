import type { Run } from '../../core/run.js'
import type { SetupTask, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { httpAnswer } from '../http-request.js'
import { clusterUnit, requireCluster } from '../postgresql/cluster.js'
import { askMachine, runScript } from '../remote-script.js'
import {
  convergeServices,
  lookAtServices,
  publicFile,
  type ServiceSet,
  unitPath,
  unsteadyUnits,
} from '../services.js'
import { portPackages, refuseTakenPort } from '../taken-port.js'
import { waitUntil } from '../wait-until.js'
import { hydraConfig, hydraEnvironment, machinesFile, shellProfile } from './config-text.js'
import { type HydraFacts, hydraFacts } from './package-facts.js'
import {
  type HydraSettings,
  hydraConfigFile,
  hydraHome,
  hydraMachinesFile,
  hydraRole,
  hydraSettings,
  hydraUsers,
  noPackage,
} from './settings.js'
import { allHydraUnits, hydraUnits } from './units.js'

/** Perl takes its time to start, on a guest under emulation half a minute. */
const answerMs = 300_000
const requestMs = 60_000
const shellFile = '/etc/profile.d/hydra.sh'
const initUnitName = 'hydra-init.service'

export const hydraTask: SetupTask<HydraSettings> = {
  id: 'hydra',
  title: 'Hydra and its services',
  after: ['nix', 'hydra-users', 'postgresql', 'cache-key', 'binary-cache'],
  stage: 'configure',
  debianPackages: () => portPackages,
  wanted: hydraSettings,
  probe: probeHydra,
  apply: applyHydra,
  verify: verifyHydra,
}

async function probeHydra(host: Host, settings: HydraSettings, run: Run): Promise<TaskState> {
  const { package: path } = settings.options
  // That nothing can be done without a package is said when it is to be done.
  if (path == null || !(await isThere(host, path, run))) return 'needed'
  const wanted = await wantedSet(host, settings, run)
  const { absent, wrong } = await lookAtServices(host, wanted.set, run)
  if (absent) return 'needed'
  const more = await healthProblems(host, settings, wanted, run)
  const all = [...wrong, ...more]
  return all.length === 0 ? 'done' : { drifted: all.join('; ') }
}

async function isThere(host: Host, path: string, run: Run): Promise<boolean> {
  const what = 'look for the package of Hydra'
  const result = await host.exec(['test', '-d', path], { signal: run.signal, timeoutMs: requestMs, what })
  return result.kind === 'exited' && result.code === 0
}

interface Wanted {
  readonly set: ServiceSet
  readonly facts: HydraFacts
  readonly environment: Readonly<Record<string, string>>
  /** Of the database. */
  readonly databasePort: number
}

/** Everything that Hydra consists of, as this machine and this package want it. */
async function wantedSet(host: Host, settings: HydraSettings, run: Run): Promise<Wanted> {
  const { options } = settings
  if (options.package == null) throw noPackage(host, 'Hydra', 'package')
  const facts = await hydraFacts(host, options.package, run)
  const cluster = await requireCluster(host, options.database.name, run)
  const database = { name: options.database.name, port: cluster.port }
  const units = hydraUnits({
    settings,
    package: options.package,
    facts,
    database,
    postgresql: clusterUnit(cluster),
  })
  const files = [
    publicFile(hydraConfigFile, hydraConfig(settings, facts)),
    publicFile(hydraMachinesFile, machinesFile(options.buildMachines, facts)),
    publicFile(shellFile, shellProfile(database, facts)),
    ...units.map(({ name, text }) => publicFile(unitPath(name), text)),
  ]
  const names = new Set(units.map(({ name }) => name))
  const set: ServiceSet = {
    owner: 'hydra',
    files,
    units: units
      .filter(({ runs }) => runs)
      .map(({ name }) => ({
        name,
        // The runner reads its machines again by itself, and all others read hydra.conf only at their start.
        reads: [
          unitPath(name),
          ...(name.endsWith('.timer') || name === initUnitName ? [] : [hydraConfigFile]),
        ],
      })),
    obsolete: allHydraUnits.filter((name) => !names.has(name)),
    // The database may have been made anew, or put back from an older Hydra, since it ran.
    again: [initUnitName],
  }
  return { set, facts, environment: hydraEnvironment(database, facts), databasePort: cluster.port }
}

/**
 * That a unit is active proves nothing: a queue runner without the daemon and a server whose every page is an error
 * are active too (measured). So each is asked as the user who runs it.
 */
async function healthProblems(
  host: Host,
  settings: HydraSettings,
  { environment, databasePort }: Wanted,
  run: Run,
): Promise<string[]> {
  const { options } = settings
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const { package: path, database, listenHost, port } = options
  const args = [path ?? '', database.name, String(databasePort), listenHost, String(port), ...variables]
  const facts = await askMachine(host, { what: 'ask the services of Hydra', script: healthScript, args }, run)
  return [...(facts.get('wrong') ?? [])]
}

async function applyHydra(
  host: Host,
  settings: HydraSettings,
  run: TaskRun,
): Promise<Record<string, string>> {
  const { options } = settings
  const wanted = await wantedSet(host, settings, run)
  // hydra-server ends with status 0 when its port is taken, and is started again for ever (measured).
  const hint = 'stop it, or set deployment.hydra.port to another one'
  await refuseTakenPort(host, { port: options.port, unit: 'hydra-server.service', hint }, run)
  const args = [hydraHome, hydraConfigFile]
  await runScript(host, { what: 'link the configuration of Hydra', script: linkScript, args }, run)
  await convergeServices(host, wanted.set, run)
  return { url: settings.url, package: options.package ?? '' }
}

async function verifyHydra(host: Host, settings: HydraSettings, run: TaskRun): Promise<void> {
  const { port } = settings.options
  const hint = 'journalctl -u hydra-server on the machine says more'
  await waitUntil(host.machine, run, {
    what: `Hydra's web server answers on port ${port}`,
    deadlineMs: answerMs,
    hint,
    evidence: () => newestLines(host, ['hydra-server.service'], run),
    wrong: async () => {
      const url = `http://127.0.0.1:${port}/`
      const connect = () => run.connect(port)
      const { status } = await httpAnswer({ url, connect, signal: run.signal, timeoutMs: requestMs })
      return status === 200 ? undefined : `it answers with status ${status}`
    },
  })
  const wanted = await wantedSet(host, settings, run)
  const units = wanted.set.units.map(({ name }) => name)
  await waitUntil(host.machine, run, {
    what: "all of Hydra's services work",
    deadlineMs: answerMs,
    hint: 'journalctl -u "hydra-*" on the machine says more',
    evidence: () => newestLines(host, units, run),
    wrong: async () => {
      const problems = [
        ...(await unsteadyUnits(host, units, run)),
        ...(await healthProblems(host, settings, wanted, run)),
      ]
      return problems.length === 0 ? undefined : problems.join('; ')
    },
  })
}

/** Of the journal. */
async function newestLines(host: Host, units: readonly string[], run: Run): Promise<string> {
  const argv = ['journalctl', '--quiet', '--no-pager', '--output=cat', '--lines=20']
  const what = 'read the journal'
  const options = { signal: run.signal, timeoutMs: requestMs, what }
  return (await host.exec([...argv, ...units.map((unit) => `--unit=${unit}`)], options)).stdout.trim()
}

/** Where somebody's own configuration is, it is kept beside it. */
const linkScript = `
if [ -e "$1/hydra.conf" ] && [ ! -L "$1/hydra.conf" ]; then
  mv --backup=numbered -T -- "$1/hydra.conf" "$1/hydra.conf.before-hydra-ops" || exit 1
  echo "$1/hydra.conf was somebody's own: it is now hydra.conf.before-hydra-ops"
fi
ln -sfn -- "$2" "$1/hydra.conf" || exit 1
`

/**
 * An unknown option makes hydra-server drop all of them and listen everywhere (measured), so the address is looked
 * at too. The evaluator says nothing when it has started; it holds connections to the database.
 */
const healthScript = `
package=$1 database=$2 database_port=$3 address=$4 port=$5
shift 5
cd /
[ "$(readlink ${hydraHome}/hydra.conf)" = ${hydraConfigFile} ] || echo "wrong=${hydraHome}/hydra.conf does not lead to ${hydraConfigFile}"
as() { user=$1; shift; runuser -u "$user" -- "$@" < /dev/null; }
for user in ${hydraUsers.hydra} ${hydraUsers.queueRunner} ${hydraUsers.www}; do
  as "$user" env NIX_REMOTE=daemon nix-store -q --hash "$package" > /dev/null 2>&1 ||
    echo "wrong=user $user cannot use the Nix daemon"
done
status=$(as ${hydraUsers.queueRunner} env "$@" "$package/bin/hydra-queue-runner" --status 2>/dev/null)
case $status in
  *'"status":"up"'* | *'"status": "up"'*) ;;
  # One that cannot be asked so (newer ones are another program); systemd says that it runs.
  '') ;;
  *) echo "wrong=the queue runner is not up" ;;
esac
sql() { as ${hydraUsers.hydra} psql -X -U ${hydraRole} -p "$database_port" -d "$database" -Atc "$1" 2>/dev/null; }
schema=$(sql 'select max(version) from schemaversion')
newest=$(find "$package/libexec/hydra/sql/" -name 'upgrade-*.sql' 2>/dev/null | sed 's/.*upgrade-//; s/\\.sql$//' | sort -n | tail -n 1)
if [ -z "$schema" ]; then echo "wrong=the database $database does not have the tables of Hydra"
elif [ "$schema" -lt "\${newest:-0}" ]; then echo "wrong=the tables of Hydra are of version $schema, and its package wants $newest"; fi
sessions=$(sql "select count(*) from pg_stat_activity where application_name = 'hydra-evaluator'")
[ "\${sessions:-0}" -ge 1 ] || echo "wrong=the evaluator has no connection to the database"
listening=$(ss -Hltn "sport = :$port" | awk '{ print $4 }')
case $listening in
  '') echo "wrong=nothing listens on port $port" ;;
  '*:'* | '0.0.0.0:'* | '[::]:'*)
    case $address in 0.0.0.0 | ::) ;; *) echo "wrong=hydra-server listens on $listening instead of $address:$port" ;; esac ;;
esac
exit 0
`
