import { createHash } from 'node:crypto'
import { calendarEvents } from '../core/calendar.js'
import { commandFailure, requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { ownedService, ownedUnit } from '../core/owned-places.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles } from '../remote/place-files.js'
import { askMachine, type Facts, fact, runScript } from '../remote/run-script.js'
import { targetScript } from '../remote/target-scripts.js'
import { usesCaches, usesDaemonBuilders } from './builders/relations.js'
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
import { nixRecordFile, recordNixStart } from './nix-start.js'

const probeMs = 120_000

/** Path that no store has; a query for it asks the daemon without changing anything. */
const absentPath = '/nix/store/00000000000000000000000000000000-hydra-ops'

/** Nix on a Debian machine, without which no closure can be copied there. */
export const nixTask: SetupTask<NixOptions> = {
  id: 'nix',
  title: 'Nix and its daemon',
  after: [],
  stage: 'bootstrap',
  debianPackages: () => ['nix-bin', 'nix-setup-systemd'],
  wanted: (machine) =>
    machine.definition.os === 'debian'
      ? nixOptions(machine.definition.options, {
          usesBuilders: usesDaemonBuilders(machine),
          usesCaches: usesCaches(machine),
        })
      : undefined,
  owns: () => [
    { path: nixConf, instead: 'deployment.nix.extraOptions' },
    { path: nixSettingsFile, instead: 'deployment.nix.extraOptions' },
    { path: nixRecordFile, instead: 'a file with another name in the same folder' },
    ...ownedUnit(`${gcUnit}.service`, 'deployment.nix.gc'),
    ...ownedUnit(`${gcUnit}.timer`, 'deployment.nix.gc'),
    ...ownedService('nix-daemon.service'),
    ...ownedService('nix-daemon.socket'),
  ],
  probe: probeNix,
  apply: applyNix,
  verify: verifyNix,
}

/** Debian's own settings file, which includes the file of hydra-ops. */
const nixConf = '/etc/nix/nix.conf'

async function probeNix(host: Host, options: NixOptions, run: Run): Promise<TaskState> {
  const seen = await look(host, run)
  const untouched = !seen.has('settings') && fact(seen, 'include') === 'no'
  if (!seen.has('nix') || untouched) return 'needed'
  const wrong = differences(seen, options)
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

async function look(host: Host, run: Run): Promise<Facts> {
  const values = { settings: nixSettingsFile, include: nixInclude, gc: gcUnit, record: nixRecordFile }
  return askMachine(host, { what: 'look at Nix', script: 'tasks/nix/look', values, timeoutMs: probeMs }, run)
}

function differences(seen: Facts, options: NixOptions): string[] {
  const wanted = new Map(gcUnits(options).map((unit) => [unit.path, sha256(unit.content)]))
  const rules: readonly (readonly [boolean, string])[] = [
    [fact(seen, 'settings') === sha256(nixSettings(options)), `${nixSettingsFile} differs`],
    [fact(seen, 'include') === 'yes', `/etc/nix/nix.conf does not include ${nixSettingsFile}`],
    [fact(seen, 'restart') === 'no', 'nix-daemon has not been restarted since its settings changed'],
    [fact(seen, 'socket') === 'active', `nix-daemon.socket is ${fact(seen, 'socket')}`],
    [fact(seen, 'enabled') === 'enabled', 'nix-daemon.socket is not started at boot'],
    [
      fact(seen, 'gc-service') === (wanted.get(gcPath('service')) ?? '') &&
        fact(seen, 'gc-timer') === (wanted.get(gcPath('timer')) ?? '') &&
        (fact(seen, 'gc-active') === 'active') === options.gc.automatic,
      'the schedule of the garbage collection differs',
    ],
  ]
  return rules.flatMap(([holds, otherwise]) => (holds ? [] : [otherwise]))
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/**
 * Writes the files that differ, then restarts the daemon once, and only if its settings changed. The daemon reads
 * settings only at its start, and five restarts in ten seconds make its socket fail (measured). The machine keeps a
 * mark of a due restart, so that an interrupted run does not lose the restart.
 */
async function applyNix(host: Host, options: NixOptions, run: Run): Promise<Record<string, string>> {
  const { gc } = options
  if (gc.automatic) await checkSchedule(host, gc.dates, run)
  const settings = nixSettings(options)
  if (options.extraOptions.trim() !== '') await checkSettings(host, settings, run)
  const note = {
    what: 'note whether nix-daemon must restart',
    script: 'tasks/nix/mark',
    values: { settings: nixSettingsFile, wanted: sha256(settings), include: nixInclude },
    timeoutMs: probeMs,
  }
  const seen = await askMachine(host, note, run)
  if (!seen.has('nix')) throw noNix(host)
  const stale = fact(seen, 'stale') === 'yes'
  const files = [...(stale ? [{ path: nixSettingsFile, content: settings }] : []), ...gcUnits(options)].map(
    rootFile,
  )
  await placeFiles(host, files, { run, what: 'write the settings of Nix' })
  const setUp = {
    what: 'set up the Nix daemon',
    script: 'tasks/nix/apply',
    values: { include: nixInclude, gc: gcUnit, automatic: gc.automatic },
    hint: 'journalctl -u nix-daemon on the machine shows more',
  }
  await runScript(host, setUp, run)
  await recordNixStart(host, run)
  return { version: fact(seen, 'nix') }
}

function rootFile(file: { readonly path: string; readonly content: string }): PlacedFile {
  return { ...file, mode: 0o644, user: 'root', group: 'root' }
}

function noNix(host: Host): Error {
  return failure(
    'NO_NIX',
    `machine '${host.machine}': nix-store is missing, although its package should be installed`,
    { machine: host.machine },
  )
}

/** Checks the settings before they are in place, because a wrong value keeps all programs of Nix from starting. */
async function checkSettings(host: Host, settings: string, run: Run): Promise<void> {
  const what = 'read the settings of Nix'
  const options = { signal: run.signal, timeoutMs: probeMs, what, stdin: settings }
  const result = await host.script(targetScript('tasks/nix/check'), [], options)
  if (result.kind === 'exited' && result.code === notInstalled) throw noNix(host)
  if (result.kind !== 'exited' || result.code !== 0) {
    const hint = 'correct deployment.nix.extraOptions; the machine was not changed'
    throw commandFailure(result, { machine: host.machine, what, hint })
  }
  // Nix ignores unknown settings, so a misspelt setting would otherwise go unnoticed.
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
    hint: 'the machine does not know the time zone in deployment.nix.gc.dates (or hydra.gc.dates): install tzdata, or remove the time zone',
  })
}

/** Checks that the daemon itself answers over its socket. */
async function verifyNix(host: Host, _options: NixOptions, run: Run): Promise<void> {
  const what = 'query the Nix daemon'
  const argv = ['env', 'NIX_REMOTE=daemon', 'nix-store', '--check-validity', '--print-invalid', absentPath]
  const result = await host.exec(argv, { signal: run.signal, timeoutMs: probeMs, what })
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  if (stdout.trim() === absentPath) return
  throw failure(
    'NIX_DAEMON',
    `machine '${host.machine}': cannot ${what}: the answer is not the expected path`,
    {
      machine: host.machine,
      detail: stdout.slice(0, 2_000),
    },
  )
}

/** Exit status of a shell that cannot find a program. */
const notInstalled = 127
