import { createHash } from 'node:crypto'
import { calendarEvents } from '../core/calendar.js'
import { commandFailure, requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { ownedService, ownedUnit } from '../core/owned-places.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles } from '../remote/place-files.js'
import {
  gcPath,
  gcUnit,
  gcUnits,
  type NixOptions,
  nixInclude,
  nixOptions,
  nixSettings,
  nixSettingsFile,
} from './nix-config.js'

const probeMs = 120_000
const applyMs = 300_000

/** A path that no store has: asking for it is a question to the daemon that changes nothing. */
const absentPath = '/nix/store/00000000000000000000000000000000-hydra-ops'

/** Nix on a Debian machine, without which nothing can be copied to it. */
export const nixTask: SetupTask<NixOptions> = {
  id: 'nix',
  title: 'Nix and its daemon',
  after: [],
  stage: 'bootstrap',
  debianPackages: () => ['nix-bin', 'nix-setup-systemd'],
  wanted: ({ definition }) =>
    definition.options.os === 'debian' ? nixOptions(definition.options) : undefined,
  owns: () => [
    { path: nixConf, instead: 'deployment.nix.extraOptions' },
    { path: nixSettingsFile, instead: 'deployment.nix.extraOptions' },
    ...ownedUnit(`${gcUnit}.service`, 'deployment.nix.gc'),
    ...ownedUnit(`${gcUnit}.timer`, 'deployment.nix.gc'),
    ...ownedService('nix-daemon.service'),
    ...ownedService('nix-daemon.socket'),
  ],
  probe: probeNix,
  apply: applyNix,
  verify: verifyNix,
}

/** Debian's own; it includes ours. */
const nixConf = '/etc/nix/nix.conf'

/** What the probe's script says: `name=value` lines. */
type Seen = ReadonlyMap<string, string>

async function probeNix(host: Host, options: NixOptions, run: Run): Promise<TaskState> {
  const seen = await look(host, run)
  if (!seen.has('nix') || (seen.get('settings') === '-' && seen.get('include') === 'no')) return 'needed'
  const wrong = differences(seen, options)
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

async function look(host: Host, run: Run): Promise<Seen> {
  return ask(host, 'look at Nix', probeScript, [nixSettingsFile, nixInclude, gcUnit], run)
}

async function ask(host: Host, what: string, text: string, args: readonly string[], run: Run): Promise<Seen> {
  const result = await host.script(text, args, { signal: run.signal, timeoutMs: probeMs, what })
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  return new Map(
    stdout.split('\n').map((line) => {
      const at = line.indexOf('=')
      // sha256sum of its input says "HASH  -".
      return [line.slice(0, at), line.slice(at + 1).replace(/ {2}-$/, '')]
    }),
  )
}

function differences(seen: Seen, options: NixOptions): string[] {
  const wanted = new Map(gcUnits(options).map((unit) => [unit.path, sha256(unit.content)]))
  const rules: readonly (readonly [boolean, string])[] = [
    [seen.get('settings') === sha256(nixSettings(options)), `${nixSettingsFile} differs`],
    [seen.get('include') === 'yes', `/etc/nix/nix.conf does not include ${nixSettingsFile}`],
    [seen.get('restart') === 'no', 'nix-daemon was not restarted since its settings changed'],
    [seen.get('socket') === 'active', `nix-daemon.socket is ${seen.get('socket')}`],
    [seen.get('enabled') === 'enabled', 'nix-daemon.socket is not started at boot'],
    [
      seen.get('gc-service') === (wanted.get(gcPath('service')) ?? '-') &&
        seen.get('gc-timer') === (wanted.get(gcPath('timer')) ?? '-') &&
        (seen.get('gc-active') === 'active') === options.gc.automatic,
      'the schedule of the garbage collection differs',
    ],
  ]
  return rules.flatMap(([holds, otherwise]) => (holds ? [] : [otherwise]))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/**
 * Writes what differs, then restarts the daemon once, and only if its settings changed: it reads them only at
 * its start, and five restarts in ten seconds end its socket (measured). That a restart is due is kept on the
 * machine, so that it is not forgotten when we are cut off in between.
 */
async function applyNix(host: Host, options: NixOptions, run: Run): Promise<Record<string, string>> {
  const { gc } = options
  if (gc.automatic) await checkSchedule(host, gc.dates, run)
  const settings = nixSettings(options)
  if (options.extraOptions.trim() !== '') await checkSettings(host, settings, run)
  const what = 'note whether nix-daemon must restart'
  const seen = await ask(host, what, markScript, [nixSettingsFile, sha256(settings), nixInclude], run)
  if (!seen.has('nix')) throw noNix(host)
  const stale = seen.has('stale')
  const files = [...(stale ? [{ path: nixSettingsFile, content: settings }] : []), ...gcUnits(options)].map(
    rootFile,
  )
  await placeFiles(host, files, { run, what: 'write the settings of Nix' })
  const args = [nixInclude, gcUnit, gc.automatic ? 'yes' : 'no']
  await oneScript(host, 'set up the Nix daemon', applyScript, args, run)
  return { version: seen.get('nix') ?? '' }
}

function rootFile(file: { readonly path: string; readonly content: string }): PlacedFile {
  return { ...file, mode: 0o644, user: 'root', group: 'root' }
}

function noNix(host: Host): Error {
  return failure(
    'NO_NIX',
    `machine '${host.machine}': nix-store is not installed, though its packages should be`,
    { machine: host.machine },
  )
}

/** Lets Nix read the settings before they are in place: with a wrong value none of its programs would start. */
async function checkSettings(host: Host, settings: string, run: Run): Promise<void> {
  const what = 'read the settings of Nix'
  const options = { signal: run.signal, timeoutMs: probeMs, what, stdin: settings }
  const result = await host.script(checkScript, [], options)
  if (result.kind === 'exited' && result.code === notInstalled) throw noNix(host)
  if (result.kind !== 'exited' || result.code !== 0) {
    const hint = 'correct deployment.nix.extraOptions; nothing was changed'
    throw commandFailure(result, { machine: host.machine, what, hint })
  }
  // Nix passes over a setting that it does not know, as it would over a misspelt one.
  for (const line of result.stderr.split('\n'))
    if (line.includes('unknown setting')) run.log(`deployment.nix.extraOptions: ${line.trim()}`)
}

async function checkSchedule(host: Host, dates: string, run: Run): Promise<void> {
  const what = `read gc.dates = ${JSON.stringify(dates)}`
  const argv = ['systemd-analyze', 'calendar', '--', ...calendarEvents(dates)]
  const result = await host.exec(argv, { signal: run.signal, timeoutMs: probeMs, what })
  if (result.kind === 'exited' && result.code === 0) return
  throw commandFailure(result, {
    machine: host.machine,
    what,
    hint: 'deployment.nix.gc.dates (or hydra.gc.dates) has the right form, so the machine does not know its time zone: install tzdata or leave it out',
  })
}

async function oneScript(
  host: Host,
  what: string,
  text: string,
  args: readonly string[],
  run: Run,
): Promise<void> {
  const result = await host.script(text, args, {
    signal: run.signal,
    timeoutMs: applyMs,
    what,
    onLine: (line) => run.log(line),
  })
  requireSuccess(result, {
    machine: host.machine,
    what,
    hint: 'journalctl -u nix-daemon on the machine says more',
  })
}

/** Asks the daemon itself, over its socket. */
async function verifyNix(host: Host, _options: NixOptions, run: Run): Promise<void> {
  const what = 'ask the Nix daemon'
  const argv = ['env', 'NIX_REMOTE=daemon', 'nix-store', '--check-validity', '--print-invalid', absentPath]
  const result = await host.exec(argv, { signal: run.signal, timeoutMs: probeMs, what })
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  if (stdout.trim() === absentPath) return
  throw failure('NIX_DAEMON', `machine '${host.machine}': ${what}: an answer that makes no sense`, {
    machine: host.machine,
    detail: stdout.slice(0, 2_000),
  })
}

const restartMark = '/run/hydra-ops/nix-daemon-restart'

const probeScript = `
settings=$1 include=$2 gc=$3
version=$(nix-store --version 2>/dev/null) && echo "nix=\${version##* }"
hash() { if [ -f "$1" ]; then sha256sum < "$1"; else echo -; fi; }
echo "settings=$(hash "$settings")"
if grep -qxF -e "$include" /etc/nix/nix.conf 2>/dev/null; then echo include=yes; else echo include=no; fi
if [ -e ${restartMark} ]; then echo restart=due; else echo restart=no; fi
systemctl is-active nix-daemon.socket "$gc.timer" 2>/dev/null | {
  read -r socket
  read -r timer
  echo "socket=$socket"
  echo "gc-active=$timer"
}
echo "enabled=$(systemctl is-enabled nix-daemon.socket 2>/dev/null)"
echo "gc-service=$(hash "/etc/systemd/system/$gc.service")"
echo "gc-timer=$(hash "/etc/systemd/system/$gc.timer")"
exit 0
`

/** Exit status of a shell that does not find a program. */
const notInstalled = 127

const checkScript = `
command -v nix-store > /dev/null || exit ${notInstalled}
folder=$(mktemp -d) || exit 1
trap 'rm -rf -- "$folder"' EXIT
cat > "$folder/nix.conf" || exit 1
export NIX_CONF_DIR=$folder NIX_USER_CONF_FILES= NIX_CONFIG=
NIX_STORE_DIR=$folder/store NIX_STATE_DIR=$folder/var NIX_LOG_DIR=$folder/log nix-store --version > /dev/null
`

const markScript = `
settings=$1 wanted=$2 include=$3
version=$(nix-store --version 2>/dev/null) || exit 0
echo "nix=\${version##* }"
stale=
[ "$(sha256sum < "$settings" 2>/dev/null)" = "$wanted  -" ] || stale=yes
[ -z "$stale" ] || echo stale=yes
if [ -n "$stale" ] || ! grep -qxF -e "$include" /etc/nix/nix.conf 2>/dev/null; then
  mkdir -p /run/hydra-ops && touch ${restartMark}
fi
`

/** nix.conf is Debian's and may be the user's too: only our one line is added, in a copy that replaces it whole. */
const applyScript = `
include=$1 gc=$2 automatic=$3
conf=/etc/nix/nix.conf
if ! grep -qxF -e "$include" "$conf" 2>/dev/null; then
  new="$conf.hydra-ops-new"
  rm -f -- "$new"
  if [ -e "$conf" ]; then cp -p -- "$conf" "$new" || exit 1; fi
  [ -z "$(tail -c 1 -- "$new" 2>/dev/null)" ] || echo >> "$new"
  printf '%s\\n' "$include" >> "$new" || exit 1
  sync "$new"
  mv -f -- "$new" "$conf" || exit 1
fi
if [ "$automatic" = no ]; then
  if [ -e "/etc/systemd/system/$gc.timer" ] || [ -e "/etc/systemd/system/$gc.service" ]; then
    systemctl --quiet --no-reload disable --now "$gc.timer"
    rm -f -- "/etc/systemd/system/$gc.timer" "/etc/systemd/system/$gc.service"
    systemctl daemon-reload || exit 1
  fi
else
  systemctl daemon-reload || exit 1
  systemctl --quiet --no-reload enable "$gc.timer" && systemctl restart "$gc.timer" || exit 1
fi
if [ "$(systemctl is-active nix-daemon.socket)" != active ]; then
  systemctl reset-failed nix-daemon.service nix-daemon.socket 2>/dev/null
  # Debian's package starts the service at once, and systemd refuses a socket whose service already runs (measured).
  systemctl stop nix-daemon.service || exit 1
fi
[ "$(systemctl is-enabled nix-daemon.socket 2>/dev/null)" = enabled ] ||
  systemctl --quiet --no-reload enable nix-daemon.socket || exit 1
if [ -e ${restartMark} ]; then
  systemctl try-restart nix-daemon.service || exit 1
  rm -f ${restartMark}
fi
systemctl start nix-daemon.socket || exit 1
`
