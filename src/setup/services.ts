import { createHash } from 'node:crypto'
import { type PlacedFile, placeFiles } from '../core/place-files.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { askMachine, runScript } from './remote-script.js'

/** Files and the units that live by them. */
export interface ServiceSet {
  /** The task that owns them; names the marks of restarts that are due. */
  readonly owner: string
  readonly files: readonly PlacedFile[]
  readonly units: readonly ServiceUnit[]
  /** Units that an earlier version of the options or of the package had. */
  readonly obsolete: readonly string[]
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
  const args = [
    set.owner,
    ...set.obsolete.map((name) => `obsolete:${name}`),
    ...set.units.map(({ name }) => `unit:${name}`),
  ]
  const what = `start the services of ${set.owner}`
  const hint = `journalctl -u ${set.units[0]?.name ?? set.owner} on the machine says more`
  await runScript(host, { what, script: convergeScript, args, hint, timeoutMs: startMs }, run)
}

/** Hydra's database is made, or migrated, while one of them starts. */
const startMs = 900_000

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

/** One transaction of systemd: it knows the order in which the units come. */
const convergeScript = `
owner=$1
shift
for each do
  case $each in obsolete:*)
    unit=\${each#obsolete:}
    [ -e "/etc/systemd/system/$unit" ] || continue
    systemctl --quiet disable --now "$unit"
    rm -f -- "/etc/systemd/system/$unit" || exit 1
  esac
done
systemctl daemon-reload || exit 1
due=
for each do
  case $each in unit:*)
    unit=\${each#unit:}
    systemctl --quiet enable "$unit" || exit 1
    if [ -e "${marks}/$owner/$unit" ] || [ "$(systemctl is-active "$unit")" != active ]; then due="$due $unit"; fi
  esac
done
[ -n "$due" ] || exit 0
systemctl reset-failed $due 2>/dev/null
systemctl restart $due || {
  for unit in $due; do
    [ "$(systemctl is-active "$unit")" = active ] || journalctl --quiet --no-pager --lines=20 --output=cat --unit="$unit" >&2
  done
  exit 1
}
for unit in $due; do rm -f "${marks}/$owner/$unit"; done
`
