import { posix } from 'node:path'
import { readAge } from '../core/ages.js'
import { type AutoUpdate, autoUpdateOf } from '../core/auto-update-options.js'
import { calendarEvents } from '../core/calendar.js'
import { commandFailure } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { debianProfile, machineLock, ownerFile, updateResultFile } from '../core/machine-places.js'
import { ownedUnit } from '../core/owned-places.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskMachine, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { targetFile } from '../core/target-file.js'
import { runScript } from '../remote/run-script.js'
import {
  convergeServices,
  lookAtServices,
  publicFile,
  type ServiceSet,
  unitPath,
} from '../remote/services.js'
import { targetScript } from '../remote/target-scripts.js'

const taskId = 'auto-update'
const folder = '/etc/hydra-ops/auto-update'
const program = `${folder}/program.pl`
const configuration = `${folder}/configuration.json`
const unit = 'hydra-ops-auto-update'

type AutoUpdateTask =
  | { readonly kind: 'update'; readonly wanted: AutoUpdate }
  /** Removal of the task's results, because the options no longer ask for an update. */
  | { readonly kind: 'withdraw' }

/** Timer that brings a Debian machine to the newest build of its jobset. */
export const autoUpdateTask: SetupTask<AutoUpdateTask> = {
  id: taskId,
  title: 'automatic update from Hydra',
  after: ['nix'],
  stage: 'configure',
  debianPackages: ({ kind }) => (kind === 'update' ? ['perl', 'curl', 'ca-certificates'] : []),
  wanted: wantedUpdate,
  owns: () => [
    { path: `${folder}/**`, instead: 'deployment.autoUpdate' },
    ...ownedUnit(`${unit}.service`, 'deployment.autoUpdate'),
    ...ownedUnit(`${unit}.timer`, 'deployment.autoUpdate.dates'),
  ],
  traces: ({ kind }) => (kind === 'update' ? { timer: `${unit}.timer` } : {}),
  probe: probeUpdate,
  apply: (host, options, run) =>
    options.kind === 'update' ? setUp(host, options.wanted, run) : withdraw(host, run),
  verify: verifyUpdate,
}

function wantedUpdate({ definition, outputs }: TaskMachine): AutoUpdateTask | undefined {
  if (definition.os !== 'debian') return undefined
  const wanted = autoUpdateOf(definition.name, definition.options)
  if (wanted !== undefined) return { kind: 'update', wanted }
  const timer = outputs?.[taskId]?.timer ?? ''
  return timer === '' ? undefined : { kind: 'withdraw' }
}

/** Lists the files and the timer of an update. */
export function updateServices(wanted: AutoUpdate): ServiceSet {
  const timer = `${unit}.timer`
  return {
    owner: taskId,
    files: [
      publicFile(program, programText()),
      publicFile(configuration, `${JSON.stringify(debianConfiguration(wanted), undefined, 2)}\n`),
      publicFile(unitPath(`${unit}.service`), serviceText()),
      publicFile(unitPath(timer), timerText(wanted.dates)),
    ],
    units: [{ name: timer, reads: [unitPath(timer)] }],
    obsolete: [],
  }
}

const parts = ['machine', 'hydra', 'health', 'debian', 'main']

/** Joins the files of the program. */
function programText(): string {
  const texts = parts.map((name) => targetFile(`auto-update/${name}.pl`))
  return `# Written by hydra-ops (set-up task "${taskId}")\n${texts.join('')}`
}

/** Builds the configuration of the program: places, times, the jobset, and the scripts that a deploy uses too. */
export function debianConfiguration(wanted: AutoUpdate) {
  const { dates: _, maxAge, ...source } = wanted
  return {
    ...source,
    ...(maxAge === undefined ? {} : { maxAge: readAge(maxAge, 'deployment.autoUpdate.maxAge') }),
    state: posix.dirname(updateResultFile),
    lock: '/run/hydra-ops/auto-update.lock',
    machineLock: machineLock.file,
    staleSeconds: machineLock.staleSeconds,
    profile: debianProfile,
    ownerFile,
    logs: '/var/log/hydra-ops',
    roots: '/nix/var/nix/gcroots/hydra-ops',
    askSeconds: 60,
    fetchSeconds: 4 * 3_600,
    activationSeconds: 2 * 3_600,
    scripts: {
      take: targetScript('machine-lock/take'),
      release: targetScript('machine-lock/release'),
      start: targetScript('debian/start-activation'),
      follow: targetScript('debian/follow-activation'),
      finish: targetScript('debian/finish-activation'),
    },
  }
}

function serviceText(): string {
  return `# Written by hydra-ops (set-up task "${taskId}")
[Unit]
Description=Automatic update from Hydra
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=oneshot
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin:/nix/var/nix/profiles/default/bin:/usr/local/sbin:/usr/local/bin
Environment=LC_ALL=C.UTF-8 HOME=/root
ExecStart=/usr/bin/perl ${program} ${configuration}
`
}

function timerText(dates: string): string {
  const events = calendarEvents(dates).map((event) => `OnCalendar=${event}\n`)
  return `# Written by hydra-ops (set-up task "${taskId}")
[Unit]
Description=Automatic update from Hydra

[Timer]
${events.join('')}Persistent=true
RandomizedDelaySec=15min

[Install]
WantedBy=timers.target
`
}

async function probeUpdate(host: Host, options: AutoUpdateTask, run: Run): Promise<TaskState> {
  if (options.kind === 'withdraw') {
    const { wrong } = await lookAtServices(host, nothing, run)
    return wrong.length === 0 ? 'done' : { drifted: 'the machine must no longer update itself' }
  }
  const { absent, wrong } = await lookAtServices(host, updateServices(options.wanted), run)
  if (absent) return 'needed'
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

/** Services after the removal: the units must not exist. */
const nothing: ServiceSet = {
  owner: taskId,
  files: [],
  units: [],
  obsolete: [`${unit}.timer`, `${unit}.service`],
}

async function setUp(host: Host, wanted: AutoUpdate, run: Run): Promise<Record<string, string>> {
  await checkDates(host, wanted.dates, run)
  await convergeServices(host, updateServices(wanted), run)
  const { url, project, jobset, job } = wanted
  return { timer: `${unit}.timer`, source: `${url}/job/${project}/${jobset}/${job}` }
}

async function checkDates(host: Host, dates: string, run: Run): Promise<void> {
  const what = `read autoUpdate.dates = ${JSON.stringify(dates)}`
  const argv = ['systemd-analyze', 'calendar', '--', ...calendarEvents(dates)]
  const result = await host.exec(argv, { signal: run.signal, timeoutMs: 120_000, what })
  if (result.kind === 'exited' && result.code === 0) return
  throw commandFailure(result, {
    machine: host.machine,
    what,
    hint: 'the machine does not know the time zone in deployment.autoUpdate.dates: install tzdata, or remove the time zone',
  })
}

async function withdraw(host: Host, run: Run): Promise<Record<string, string>> {
  const remove = {
    what: 'remove the automatic update',
    script: 'tasks/auto-update/remove',
    values: { unit, folder },
  }
  await runScript(host, remove, run)
  // hydra-ops forgets the task because of this empty output.
  return { timer: '', source: '' }
}

/**
 * Runs the program without changes, to see what it would do. A Hydra without a green gate is not the machine's fault.
 */
async function verifyUpdate(host: Host, options: AutoUpdateTask, run: Run): Promise<void> {
  if (options.kind === 'withdraw') return
  const { wrong } = await lookAtServices(host, updateServices(options.wanted), run)
  if (wrong.length > 0) {
    throw failure(
      'AUTO_UPDATE',
      `machine '${host.machine}': the automatic update is not set up: ${wrong.join('; ')}`,
      {
        machine: host.machine,
        hint: `journalctl -u ${unit}.timer on the machine shows more`,
      },
    )
  }
  const what = 'ask Hydra for the newest build'
  const argv = ['/usr/bin/perl', program, configuration, '--look']
  const result = await host.exec(argv, { signal: run.signal, timeoutMs: 10 * 60_000, what })
  for (const line of result.stdout.split('\n')) if (line !== '') run.log(line)
}
