import { createHash } from 'node:crypto'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles } from './place-files.js'
import { askMachine, runScript } from './run-script.js'

/** Files and the units that live by them. */
export interface ServiceSet {
  /** The task that owns them; names the marks of restarts that are due. */
  readonly owner: string
  readonly files: readonly PlacedFile[]
  readonly units: readonly ServiceUnit[]
  /** Units that an earlier version of the options or of the package had. */
  readonly obsolete: readonly string[]
  /** Units among them that do their work once and are to do it again, though nothing of theirs changed. */
  readonly again?: readonly string[]
  /** How long they may take to start; by default a quarter of an hour. */
  readonly startMs?: number
}

export interface ServiceUnit {
  /** With its suffix. */
  readonly name: string
  /** Paths among the files: when one of them changes, the unit is restarted. */
  readonly reads: readonly string[]
}

/** Where units of ours lie. */
export function unitPath(name: string): string {
  return `/etc/systemd/system/${name}`
}

/** A unit file, or a file of the configuration that everybody may read. */
export function publicFile(path: string, content: string): PlacedFile {
  return { path, content, mode: 0o644, user: 'root', group: 'root' }
}

export interface ServiceState {
  /** None of the files is there. */
  readonly absent: boolean
  readonly wrong: readonly string[]
  readonly changedFiles: readonly PlacedFile[]
}

/** How the files and units of a set are found on the machine. */
export async function lookAtServices(host: Host, set: ServiceSet, run: Run): Promise<ServiceState> {
  const args = [
    set.owner,
    ...set.files.map(({ path }) => `file:${path}`),
    ...set.units.map(({ name }) => `unit:${name}`),
    ...set.obsolete.map((name) => `obsolete:${unitPath(name)}`),
  ]
  const what = `look at the services of ${set.owner}`
  const facts = await askMachine(host, { what, script: lookScript, args }, run)
  const changedFiles = set.files.filter((file, index) => facts.get(`file${index}`)?.[0] !== expected(file))
  const absent = set.files.every((_, index) => facts.get(`file${index}`)?.[0] === '-')
  const wrong = [
    ...changedFiles.map(({ path }) => `${path} differs`),
    ...set.units.flatMap(({ name }) => wrongUnit(name, facts.get(`unit:${name}`)?.[0] ?? '')),
    ...(facts.get('obsolete') ?? []).map((path) => `${path} is not wanted any more`),
  ]
  return { absent, wrong, changedFiles }
}

function expected(file: PlacedFile): string {
  const hash = createHash('sha256').update(file.content).digest('hex')
  return `${hash} ${file.mode.toString(8)} ${file.user} ${file.group}`
}

function wrongUnit(name: string, seen: string): string[] {
  const [active = '', enabled = '', due = ''] = seen.split(' ')
  if (active !== 'active') return [`${name} is ${active}`]
  if (enabled !== 'enabled') return [`${name} is not started at boot`]
  return due === 'due' ? [`${name} was not restarted since its configuration changed`] : []
}

/**
 * Writes what differs and restarts exactly the units that live by it. That a restart is due is kept on the machine
 * (in /run: a reboot restarts everything), so that it is not forgotten when we are cut off in between.
 */
export async function convergeServices(host: Host, set: ServiceSet, run: Run): Promise<void> {
  const { changedFiles } = await lookAtServices(host, set, run)
  const changed = new Set(changedFiles.map(({ path }) => path))
  const due = set.units.filter(({ reads }) => reads.some((path) => changed.has(path))).map(({ name }) => name)
  if (due.length > 0) {
    const what = `note that services of ${set.owner} must restart`
    await runScript(host, { what, script: markScript, args: [set.owner, ...due] }, run)
  }
  await placeFiles(host, changedFiles, { run, what: `write the files of ${set.owner}` })
  const startMs = set.startMs ?? usualStartMs
  const args = [
    set.owner,
    String(Math.ceil(startMs / 1_000)),
    ...set.obsolete.map((name) => `obsolete:${name}`),
    ...set.units.map(({ name }) => `unit:${name}`),
    ...(set.again ?? []).map((name) => `again:${name}`),
  ]
  const what = `start the services of ${set.owner}`
  const hint = `journalctl -u ${set.units[0]?.name ?? set.owner} on the machine says more`
  const timeoutMs = startMs + scriptMs
  await runScript(host, { what, script: convergeScript, args, hint, timeoutMs }, run)
}

/** Hydra's database is made, or migrated, while one of them starts. */
const usualStartMs = 900_000
/** For everything but the start itself. */
const scriptMs = 120_000

/**
 * Units that are not up, or that do not stay up: with \`Restart=always\` a service that ends again and again is
 * \`active\` for a moment each time.
 */
export async function unsteadyUnits(host: Host, names: readonly string[], run: Run): Promise<string[]> {
  const question = { what: 'see whether the services stay up', script: steadyScript, args: names }
  return [...((await askMachine(host, question, run)).get('wrong') ?? [])]
}

const marks = '/run/hydra-ops/restart'

const lookScript = `
owner=$1
shift
index=0
for each do
  case $each in
    file:*)
      path=\${each#file:}
      if [ -f "$path" ]; then echo "file$index=$(sha256sum < "$path" | cut -d' ' -f1) $(stat -c '%a %U %G' -- "$path")"
      else echo "file$index=-"; fi
      index=$((index + 1)) ;;
    unit:*)
      unit=\${each#unit:}
      due=no
      [ ! -e "${marks}/$owner/$unit" ] || due=due
      echo "unit:$unit=$(systemctl is-active "$unit" 2>/dev/null) $(systemctl is-enabled "$unit" 2>/dev/null) $due" ;;
    obsolete:*)
      [ ! -e "\${each#obsolete:}" ] || echo "obsolete=\${each#obsolete:}" ;;
  esac
done
exit 0
`

const markScript = `
owner=$1
shift
mkdir -p "${marks}/$owner" || exit 1
for unit do : > "${marks}/$owner/$unit" || exit 1
done
`

/**
 * One transaction of systemd: it knows the order in which the units come. It is begun without waiting and waited for
 * by another \`start\`, which joins it: what takes longer than we wait (a migration of the database) goes on, and the
 * next attempt waits for it too instead of beginning it anew.
 */
const convergeScript = `
owner=$1 seconds=$2
shift 2
for each do
  case $each in obsolete:*)
    unit=\${each#obsolete:}
    [ -e "/etc/systemd/system/$unit" ] || continue
    systemctl --quiet --no-reload disable --now "$unit"
    rm -f -- "/etc/systemd/system/$unit" || exit 1
  esac
done
systemctl daemon-reload || exit 1
all='' restart='' ended=''
for each do
  case $each in
    unit:*)
      unit=\${each#unit:} all="$all $unit"
      systemctl --quiet --no-reload enable "$unit" || exit 1
      if [ -e "${marks}/$owner/$unit" ]; then restart="$restart $unit"
      elif [ "$(systemctl is-active "$unit")" = failed ]; then ended="$ended $unit"; fi ;;
    again:*)
      unit=\${each#again:}
      if [ ! -e "${marks}/$owner/$unit" ] && [ "$(systemctl is-active "$unit")" = active ]; then restart="$restart $unit"; fi ;;
  esac
done
[ -z "$restart$ended" ] || systemctl reset-failed $restart $ended 2>/dev/null
if [ -n "$restart" ]; then
  systemctl --no-block restart $restart || exit 1
  for unit in $restart; do rm -f "${marks}/$owner/$unit"; done
fi
timeout "$seconds" systemctl start $all && exit 0
[ $? != 124 ] || echo "they did not start within $seconds s; what is starting goes on" >&2
for unit in $all; do
  state=$(systemctl is-active "$unit")
  [ "$state" != active ] || continue
  echo "$unit is $state:" >&2
  journalctl --quiet --no-pager --lines=15 --output=cat --unit="$unit" >&2
  break
done
exit 1
`

/** In seconds. More than the units' RestartSec, and than Perl takes to find out that it cannot work. */
const steadyFor = 15

const steadyScript = `
uptime=$(cut -d. -f1 /proc/uptime)
systemctl show --property=Id,ActiveState,SubState,NRestarts,ActiveEnterTimestampMonotonic -- "$@" |
  awk -F= -v now="$uptime" '
    function tell() {
      if (id == "") return
      if (active != "active") print "wrong=" id " is " active " (" sub_state ")"
      else if (restarts > 0 && now - since / 1000000 < ${steadyFor})
        print "wrong=" id " ended and was started again, " restarts " times until now"
      id = ""; restarts = 0
    }
    $1 == "Id" { id = $2 }
    $1 == "ActiveState" { active = $2 }
    $1 == "SubState" { sub_state = $2 }
    $1 == "NRestarts" { restarts = $2 }
    $1 == "ActiveEnterTimestampMonotonic" { since = $2 }
    /^$/ { tell() }
    END { tell() }'
exit 0
`
