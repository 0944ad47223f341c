import { placedScript } from '../../remote/target-scripts.js'
import { hydraEnvironment } from './config-text.js'
import { type Daemon, daemonNames, daemonsOf, type HydraUnitsInput } from './daemons.js'
import { type DaemonSettings, gcRoots, hydraHome, hydraUsers, spaceFile } from './settings.js'
import { environmentLines, environmentOfOptions, hardening, owner, timerText, unitText } from './unit-text.js'

export interface HydraUnit {
  readonly name: string
  readonly text: string
  /** Whether the unit is started and kept running; false if a timer starts it. */
  readonly runs: boolean
  /** Files that the service reads at its start, besides its own unit file. */
  readonly reads: readonly string[]
}

/** Unit that creates the database, and migrates it to the version of the package. */
export const initUnit = 'hydra-init.service'

/** Lists the units of a Hydra, beginning with the unit that creates the database. */
export function hydraUnits(input: HydraUnitsInput): HydraUnit[] {
  return [
    { name: initUnit, text: initText(input), runs: true, reads: [] },
    ...daemonsOf(input).map((daemon) => ({
      name: `${daemon.name}.service`,
      text: daemonText(input, daemon),
      runs: true,
      reads: daemon.reads,
    })),
    ...gcRootsUnits(input),
    ...spaceUnits(input.settings),
  ]
}

const gcRootsName = 'hydra-update-gc-roots'
const spaceName = 'hydra-check-space'

/** Units of all generations of Hydra; the task removes units that this Hydra does not have. */
export const allHydraUnits: readonly string[] = [
  initUnit,
  ...daemonNames.map((name) => `${name}.service`),
  ...[gcRootsName, spaceName].flatMap((name) => [`${name}.service`, `${name}.timer`]),
]

/**
 * Writes the unit of the database schema. Wants= ties the unit to the database. Requires= would leave all units down
 * after a stop and a start of PostgreSQL (measured). Restart= restarts units that fail in the meantime.
 */
function initText(input: HydraUnitsInput): string {
  return unitText({
    unit: [
      'Description=Hydra: database schema',
      `Wants=${input.postgresql}`,
      `After=${input.postgresql} network.target`,
      'StartLimitIntervalSec=0',
    ],
    service: [
      'Type=oneshot',
      'RemainAfterExit=true',
      `User=${hydraUsers.hydra}`,
      ...environmentLines(environmentOf(input, 'hydra-init')),
      `ExecStart=${input.package}/bin/hydra-init`,
      'Restart=on-failure',
      'RestartSec=5',
      ...hardening,
      `ReadWritePaths=${hydraHome}`,
    ],
    wantedBy: 'multi-user.target',
  })
}

function daemonText(input: HydraUnitsInput, daemon: Daemon): string {
  const { exec, notifies, ties = [], lines = [], environment = {}, writes } = daemon
  return unitText({
    unit: [
      `Description=${daemon.description}`,
      `Wants=${initUnit}`,
      `After=${initUnit} nix-daemon.socket network.target`,
      ...ties,
      'StartLimitIntervalSec=0',
    ],
    service: [
      ...(notifies === true ? ['Type=notify'] : []),
      `User=${daemon.user}`,
      ...environmentLines({ ...environmentOf(input, daemon.name), ...environment }),
      `ExecStart=${input.package}/bin/${exec.join(' ')}`,
      ...lines,
      `Restart=${daemon.restart ?? 'always'}`,
      'RestartSec=5',
      ...hardening,
      ...(writes.length === 0 ? [] : [`ReadWritePaths=${writes.join(' ')}`]),
    ],
    wantedBy: 'multi-user.target',
  })
}

function gcRootsUnits(input: HydraUnitsInput): HydraUnit[] {
  if (!input.facts.programs.has(gcRootsName)) return []
  const description = 'Hydra: garbage collector roots'
  const service = unitText({
    unit: [`Description=${description}`, `After=${initUnit}`],
    service: [
      'Type=oneshot',
      `User=${hydraUsers.hydra}`,
      ...environmentLines(environmentOf(input, gcRootsName)),
      `ExecStart=${input.package}/bin/${gcRootsName}`,
      ...hardening,
      `ReadWritePaths=${gcRoots}`,
    ],
  })
  return timed(gcRootsName, service, timerText(description, '2,14:15'))
}

/** Returns the units that check the free space every few minutes; none if the options set no limit. */
function spaceUnits(settings: DaemonSettings): HydraUnit[] {
  if (spaceScript(settings) === undefined) return []
  const description = 'Hydra: check of the free disk space'
  const service = unitText({
    unit: [`Description=${description}`],
    service: ['Type=oneshot', `ExecStart=/bin/sh ${spaceFile}`],
  })
  return timed(spaceName, service, timerText(description, '*:0/5'))
}

/**
 * Writes the script that stops the services that fill the disk. The script restarts the services when free space
 * exceeds the limit by a tenth. (nixpkgs waits for 10 GiB more, which a small disk never has.) Returns `undefined` if
 * the options set no limit.
 */
export function spaceScript({ options }: DaemonSettings): string | undefined {
  const wanted = [
    ['hydra-queue-runner', options.minimumDiskFree],
    ['hydra-evaluator', options.minimumDiskFreeEvaluator],
  ] as const
  const checks = wanted
    .filter(([, gib]) => gib > 0)
    .map(([unit, gib]) => {
      const least = gib * 1024 * 1024
      const mark = `${hydraHome}/.${unit}-stopped-disk-space`
      return [unit, mark, String(least), String(Math.ceil(least * 1.1))]
    })
  if (checks.length === 0) return undefined
  return `${owner}\n${placedScript('tasks/hydra/check-space', { checks })}`
}

function timed(name: string, service: string, timer: string): HydraUnit[] {
  return [
    { name: `${name}.service`, text: service, runs: false, reads: [] },
    { name: `${name}.timer`, text: timer, runs: true, reads: [] },
  ]
}

function environmentOf({ settings, database, facts }: HydraUnitsInput, unit: string): Record<string, string> {
  return { ...hydraEnvironment(database, facts, unit), ...environmentOfOptions(settings) }
}
