import { type Database, hydraEnvironment } from './config-text.js'
import type { HydraFacts } from './package-facts.js'
import { gcRoots, type HydraSettings, hydraHome, hydraUsers, mailServer } from './settings.js'

export interface HydraUnit {
  readonly name: string
  readonly text: string
  /** Started and kept running; false = a timer starts it. */
  readonly runs: boolean
}

export interface HydraUnitsInput {
  readonly settings: HydraSettings
  /** The package's store path. */
  readonly package: string
  readonly facts: HydraFacts
  readonly database: Database
  /** The unit of the cluster. */
  readonly postgresql: string
}

interface Service {
  readonly name: string
  readonly description: string
  readonly user: string
  /** Program and arguments, without the folder. */
  readonly exec: string
  /** Further lines of [Service]. */
  readonly lines?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly writes: readonly string[]
}

const { hydra, queueRunner, www } = hydraUsers

/**
 * What ran under systemd on Debian. Tied to the database by Wants=, not Requires=: after a stop and a start of
 * PostgreSQL the latter would leave all of them down (measured); Restart=always brings back what dies meanwhile.
 */
const hardening = [
  'NoNewPrivileges=true',
  'PrivateTmp=true',
  'PrivateDevices=true',
  'ProtectHome=true',
  'ProtectSystem=strict',
  'ProtectKernelTunables=true',
  'ProtectKernelModules=true',
  'ProtectControlGroups=true',
  'RestrictSUIDSGID=true',
  'LockPersonality=true',
]

const owner = '# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.'

/** The units of a Hydra, the one that makes the database first. */
export function hydraUnits(input: HydraUnitsInput): HydraUnit[] {
  const services = servicesOf(input).filter(({ exec }) => input.facts.programs.has(exec.split(' ')[0] ?? ''))
  return [
    { name: 'hydra-init.service', text: initUnit(input), runs: true },
    ...services.map((service) => ({
      name: `${service.name}.service`,
      text: serviceUnit(input, service),
      runs: true,
    })),
    ...gcRootsUnits(input),
    ...spaceUnits(input.settings),
  ]
}

/** Every unit that any Hydra has: those that this one has not are removed. */
export const allHydraUnits: readonly string[] = [
  'hydra-init.service',
  'hydra-server.service',
  'hydra-evaluator.service',
  'hydra-queue-runner.service',
  'hydra-notify.service',
  'hydra-send-stats.service',
  'hydra-update-gc-roots.service',
  'hydra-update-gc-roots.timer',
  'hydra-check-space.service',
  'hydra-check-space.timer',
]

function servicesOf({ settings, package: path, facts }: HydraUnitsInput): Service[] {
  const { options } = settings
  const programs = `${path}/bin:/usr/bin:/bin`
  const cache = options.cache.enable ? [options.cache.directory] : []
  return [
    {
      name: 'hydra-server',
      description: 'Hydra: web server',
      user: www,
      exec: `hydra-server -f -h ${options.listenHost} -p ${options.port} --max_spare_servers 5 --max_servers 25 --max_requests 100`,
      environment: { COLUMNS: '80', XDG_CACHE_HOME: `${hydraHome}/www/.cache` },
      writes: [`${hydraHome}/www`, gcRoots],
    },
    {
      name: 'hydra-evaluator',
      description: 'Hydra: evaluator',
      user: hydra,
      exec: 'hydra-evaluator',
      // It ends with 1 when it is told to stop: each stop would leave it `failed` (measured).
      lines: [
        `ExecStopPost=${path}/bin/hydra-evaluator --unlock`,
        'SuccessExitStatus=1',
        `WorkingDirectory=${hydraHome}`,
      ],
      // It calls hydra-eval-jobset by name.
      environment: { PATH: programs },
      writes: [hydraHome, gcRoots],
    },
    {
      name: 'hydra-queue-runner',
      description: 'Hydra: queue runner',
      user: queueRunner,
      exec: 'hydra-queue-runner -v',
      lines: [
        `ExecStopPost=${path}/bin/hydra-queue-runner --unlock`,
        `WorkingDirectory=${hydraHome}/queue-runner`,
        'LimitCORE=infinity',
      ],
      environment: { PATH: programs, IN_SYSTEMD: '1' },
      writes: [`${hydraHome}/queue-runner`, `${hydraHome}/build-logs`, ...cache, gcRoots],
    },
    {
      name: 'hydra-notify',
      description: 'Hydra: notifications',
      user: queueRunner,
      exec: 'hydra-notify',
      // It compresses the logs of builds.
      writes: [`${hydraHome}/queue-runner`, `${hydraHome}/build-logs`, `${hydraHome}/runcommand-logs`],
    },
    ...(facts.programs.has('hydra-send-stats')
      ? [
          {
            name: 'hydra-send-stats',
            description: 'Hydra: statistics to statsd',
            user: hydra,
            exec: 'hydra-send-stats',
            writes: [],
          },
        ]
      : []),
  ]
}

function initUnit(input: HydraUnitsInput): string {
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
      `User=${hydra}`,
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

function serviceUnit(input: HydraUnitsInput, service: Service): string {
  return unitText({
    unit: [
      `Description=${service.description}`,
      'Wants=hydra-init.service',
      'After=hydra-init.service nix-daemon.socket network.target',
      'StartLimitIntervalSec=0',
    ],
    service: [
      `User=${service.user}`,
      ...environmentLines({ ...environmentOf(input, service.name), ...service.environment }),
      `ExecStart=${input.package}/bin/${service.exec}`,
      ...(service.lines ?? []),
      'Restart=always',
      'RestartSec=5',
      ...hardening,
      ...(service.writes.length === 0 ? [] : [`ReadWritePaths=${service.writes.join(' ')}`]),
    ],
    wantedBy: 'multi-user.target',
  })
}

function gcRootsUnits(input: HydraUnitsInput): HydraUnit[] {
  if (!input.facts.programs.has('hydra-update-gc-roots')) return []
  const service = unitText({
    unit: ['Description=Hydra: what the garbage collector keeps', 'After=hydra-init.service'],
    service: [
      'Type=oneshot',
      `User=${hydra}`,
      ...environmentLines(environmentOf(input, 'hydra-update-gc-roots')),
      `ExecStart=${input.package}/bin/hydra-update-gc-roots`,
      ...hardening,
      `ReadWritePaths=${gcRoots}`,
    ],
  })
  const timer = `${owner}
[Unit]
Description=Hydra: what the garbage collector keeps

[Timer]
OnCalendar=2,14:15

[Install]
WantedBy=timers.target
`
  return [
    { name: 'hydra-update-gc-roots.service', text: service, runs: false },
    { name: 'hydra-update-gc-roots.timer', text: timer, runs: true },
  ]
}

/**
 * Stops what fills the disk while there is less room than wished, and starts again what it stopped itself: at a tenth
 * more than the wish (nixpkgs waits for 10 GiB more, which a small disk never has).
 */
function spaceUnits({ options }: HydraSettings): HydraUnit[] {
  const wishes = [
    ['hydra-queue-runner', options.minimumDiskFree],
    ['hydra-evaluator', options.minimumDiskFreeEvaluator],
  ] as const
  const checks = wishes.filter(([, gib]) => gib > 0).map(([unit, gib]) => spaceCheck(unit, gib * 1024 * 1024))
  if (checks.length === 0) return []
  const service = unitText({
    unit: ['Description=Hydra: is there room on the disk?'],
    service: ['Type=oneshot', ...checks.map((check) => `ExecStart=/bin/sh -c ${quoted(check)}`)],
  })
  const timer = `${owner}
[Unit]
Description=Hydra: is there room on the disk?

[Timer]
OnCalendar=*:0/5

[Install]
WantedBy=timers.target
`
  return [
    { name: 'hydra-check-space.service', text: service, runs: false },
    { name: 'hydra-check-space.timer', text: timer, runs: true },
  ]
}

/** `$$` is systemd's way to write `$`. */
function spaceCheck(unit: string, kibibytes: number): string {
  const mark = `${hydraHome}/.${unit}-stopped-disk-space`
  const script = [
    'free=$(df --output=avail -k /nix/store | tail -n 1)',
    `if [ "$free" -lt ${kibibytes} ]; then if systemctl -q is-active ${unit}; then touch ${mark}; systemctl stop ${unit}; fi`,
    `elif [ -e ${mark} ] && [ "$free" -gt ${Math.ceil(kibibytes * 1.1)} ]; then rm ${mark}; systemctl start ${unit}; fi`,
  ].join('; ')
  return script.replaceAll('$', '$$$$')
}

function environmentOf({ settings, database, facts }: HydraUnitsInput, unit: string): Record<string, string> {
  const server = mailServer(settings)
  // Perl's Email::Sender goes by these.
  const mail =
    server === undefined ? {} : { EMAIL_SENDER_TRANSPORT: 'SMTP', EMAIL_SENDER_TRANSPORT_host: server }
  return { ...hydraEnvironment(database, facts, unit), ...mail, ...settings.options.extraEnv }
}

function environmentLines(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}`)
}

/** systemd.syntax(7): quotes and backslashes are escaped, and `%` begins a specifier. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`
}

function unitText(unit: {
  readonly unit: readonly string[]
  readonly service: readonly string[]
  readonly wantedBy?: string
}): string {
  const parts = [
    ['[Unit]', ...unit.unit],
    ['[Service]', ...unit.service],
    ...(unit.wantedBy === undefined ? [] : [['[Install]', `WantedBy=${unit.wantedBy}`]]),
  ]
  return `${owner}\n${parts.map((lines) => `${lines.join('\n')}\n`).join('\n')}`
}
