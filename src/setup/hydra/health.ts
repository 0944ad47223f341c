import * as z from 'zod'
import { httpAnswer } from '../../core/http-request.js'
import type { Run } from '../../core/run.js'
import type { TaskRun } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import type { HydraFacts } from './package-facts.js'
import {
  type DaemonSettings,
  hydraConfigFile,
  hydraHome,
  hydraRole,
  hydraUsers,
  nixSocketGroup,
  reachedAt,
} from './settings.js'

/** What is asked of a Hydra that should run. */
export interface Installed {
  readonly facts: Pick<HydraFacts, 'runner'>
  readonly environment: Readonly<Record<string, string>>
  /** Of the database. */
  readonly databasePort: number
}

const requestMs = 60_000

/** What its web server answers; undefined = as it should. */
export async function webProblem(settings: DaemonSettings, run: TaskRun): Promise<string | undefined> {
  const { port, listenHost } = settings.options
  const { status } = await httpAnswer({
    url: `http://127.0.0.1:${port}/`,
    checkCertificate: false,
    connect: (bounds) => run.connect(port, bounds, reachedAt(listenHost)),
    signal: run.signal,
    timeoutMs: requestMs,
  })
  // With `private = 1` in hydra.conf it shows nothing to who is not signed in (recorded).
  return status === 200 || status === 403 ? undefined : `it answers with status ${status}`
}

/**
 * Units whose processes began before their user was let in to the Nix daemon: groups come with the start of a process
 * (credentials(7)), and until they are started again evaluations and builds fail.
 */
export async function shutOutUnits(host: Host, units: readonly string[], run: Run): Promise<string[]> {
  const question = { what: "look at the groups of Hydra's services", script: groupsScript, args: units }
  return [...((await askMachine(host, question, run)).get('unit') ?? [])]
}

const groupsScript = `
group=$(getent group ${nixSocketGroup} | cut -d: -f3)
[ -n "$group" ] || exit 0
for unit do
  process=$(systemctl show --property=MainPID --value -- "$unit" 2>/dev/null)
  [ "\${process:-0}" != 0 ] && [ -r "/proc/$process/status" ] || continue
  sed -n 's/^Groups:[[:space:]]*//p' "/proc/$process/status" | tr ' ' '\\n' | grep -qx "$group" || echo "unit=$unit"
done
exit 0
`

/**
 * That a unit is active proves nothing: a queue runner without the daemon and a server whose every page is an error
 * are active too (measured). So each is asked as the user who runs it.
 */
export async function healthProblems(
  host: Host,
  settings: DaemonSettings,
  { facts: { runner }, environment, databasePort }: Installed,
  run: Run,
): Promise<string[]> {
  const { package: path, database, listenHost, port, queueRunnerPort } = settings.options
  const runnerPort = runner === 'takes-builders' ? String(queueRunnerPort) : '-'
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const places = [path ?? '', database.name, String(databasePort), listenHost, String(port), runnerPort]
  const question = {
    what: 'ask the services of Hydra',
    script: healthScript,
    args: [...places, ...variables],
  }
  const facts = await askMachine(host, question, run)
  const builders = runner === 'takes-builders' ? noBuilder(fact(facts, 'builders'), queueRunnerPort) : []
  return [...(facts.get('wrong') ?? []), ...builders]
}

const Builders = z.looseObject({ machines: z.record(z.string(), z.unknown()) })

/** What the queue runner says of who came to it. */
function noBuilder(answer: string, port: number): string[] {
  const said = Builders.safeParse(jsonOf(answer)).data
  if (said === undefined) return [`the queue runner does not answer on port ${port}`]
  return Object.keys(said.machines).length === 0 ? ['no builder has come to the queue runner'] : []
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * An unknown option makes hydra-server drop all of them and listen everywhere (measured), so the address is looked
 * at too. The evaluator says nothing when it has started; it holds connections to the database.
 */
const healthScript = `
package=$1 database=$2 database_port=$3 address=$4 port=$5 runner_port=$6
shift 6
cd /
[ "$(readlink ${hydraHome}/hydra.conf)" = ${hydraConfigFile} ] || echo "wrong=${hydraHome}/hydra.conf does not lead to ${hydraConfigFile}"
as() { user=$1; shift; runuser -u "$user" -- "$@" < /dev/null; }
for user in ${hydraUsers.hydra} ${hydraUsers.queueRunner} ${hydraUsers.www}; do
  as "$user" env NIX_REMOTE=daemon nix-store -q --hash "$package" > /dev/null 2>&1 ||
    echo "wrong=user $user cannot use the Nix daemon"
done
sql() { as ${hydraUsers.hydra} psql -X -U ${hydraRole} -p "$database_port" -d "$database" -Atc "$1"; }
said=$(sql "select count(*) from pg_tables where tablename = 'schemaversion'" 2>&1)
answered=$?
tables=$(printf '%s' "$said" | tail -n 1)
if [ "$answered" != 0 ]; then echo "wrong=the database $database cannot be asked: $(printf '%s' "$said" | head -n 1)"; fi
# A queue runner in C++ tells by the database how it is.
if [ "$runner_port" = - ]; then
  [ "$answered" != 0 ] ||
    case $(as ${hydraUsers.queueRunner} env "$@" "$package/bin/hydra-queue-runner" --status 2>/dev/null) in
      *'"status":"up"'* | *'"status": "up"'*) ;;
      *) echo "wrong=the queue runner is not up" ;;
    esac
else
  # bash belongs to each Debian, and an HTTP client does not.
  answer=$(timeout 60 bash -c 'exec 3<> "/dev/tcp/127.0.0.1/$1" && printf "GET /status/machines HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3' \\
    bash "$runner_port" 2>/dev/null)
  echo "builders=$(printf '%s' "$answer" | tail -n 1)"
fi
for mark in ${hydraHome}/.*-stopped-disk-space; do
  [ -e "$mark" ] || continue
  unit=\${mark##*/.} unit=\${unit%-stopped-disk-space}
  [ "$(systemctl is-active "$unit")" = active ] || echo "wrong=$unit was stopped since there is too little room on /nix/store"
done
if [ "$answered" = 0 ]; then
  newest=$(find "$package/libexec/hydra/sql/" -name 'upgrade-*.sql' 2>/dev/null | sed 's/.*upgrade-//; s/\\.sql$//' | sort -n | tail -n 1)
  schema=$([ "$tables" = 0 ] || sql 'select max(version) from schemaversion' 2>/dev/null)
  if [ -z "$schema" ]; then echo "wrong=the database $database does not have the tables of Hydra"
  elif [ "$schema" -lt "\${newest:-0}" ]; then echo "wrong=the tables of Hydra are of version $schema, and its package wants $newest"; fi
  sessions=$(sql "select count(*) from pg_stat_activity where application_name = 'hydra-evaluator'" 2>/dev/null)
  [ "\${sessions:-0}" -ge 1 ] || echo "wrong=the evaluator has no connection to the database"
fi
listening=$(ss -Hltn "sport = :$port" | awk '{ print $4 }')
case $listening in
  '') echo "wrong=nothing listens on port $port" ;;
  '*:'* | '0.0.0.0:'* | '[::]:'*)
    case $address in 0.0.0.0 | ::) ;; *) echo "wrong=hydra-server listens on $listening instead of $address:$port" ;; esac ;;
esac
exit 0
`
