import { describe, expect, it } from 'vitest'
import {
  hydraConfig,
  hydraEnvironment,
  machinesFile,
  shellProfile,
} from '../../../src/setup/hydra/config-text.js'
import type { HydraFacts } from '../../../src/setup/hydra/package-facts.js'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { allHydraUnits, hydraUnits, spaceScript } from '../../../src/setup/hydra/units.js'
import { taskMachine } from '../../fakes/task-run.js'

const database = { name: 'hydra', port: 5432 }
const path = '/nix/store/00000000000000000000000000000000-hydra'
const may2022: HydraFacts = {
  database: 'dbi',
  runner: 'goes-to-builders',
  metrics: true,
  builderSettings: 'options',
  evaluatorSettings: 'hydra.conf',
  programs: new Set([
    ...['hydra-init', 'hydra-server', 'hydra-evaluator', 'hydra-queue-runner', 'hydra-create-user'],
    ...['hydra-notify', 'hydra-send-stats', 'hydra-update-gc-roots'],
  ]),
  systems: ['x86_64-linux', 'builtin'],
  cores: 2,
  kvm: true,
}

function settings(hydra: Record<string, unknown> = {}): HydraSettings {
  const found = hydraSettings(
    taskMachine({ hydra: { enable: true, hostName: 'hydra.example.org', ...hydra } }),
  )
  if (found === undefined) throw new Error('no Hydra is wanted')
  return found
}

function unit(name: string, hydra: Record<string, unknown> = {}, facts = may2022): string {
  const postgresql = 'postgresql@15-main.service'
  const units = hydraUnits({ settings: settings(hydra), package: path, facts, database, postgresql })
  return units.find((each) => each.name === name)?.text ?? ''
}

const names = (facts: HydraFacts, hydra: Record<string, unknown> = {}) =>
  hydraUnits({ settings: settings(hydra), package: path, facts, database, postgresql: 'p.service' }).map(
    ({ name }) => name,
  )

describe('the units of Hydra', () => {
  it('match the programs of the package', () => {
    expect(names(may2022)).toEqual([
      'hydra-init.service',
      'hydra-server.service',
      'hydra-evaluator.service',
      'hydra-queue-runner.service',
      'hydra-notify.service',
      'hydra-update-gc-roots.service',
      'hydra-update-gc-roots.timer',
    ])
    const old = new Set([...may2022.programs].filter((name) => !/notify|stats|gc-roots/.test(name)))
    expect(names({ ...may2022, programs: old })).toEqual([
      'hydra-init.service',
      'hydra-server.service',
      'hydra-evaluator.service',
      'hydra-queue-runner.service',
    ])
  })

  it('survive a stop of the database: they want it, and do not require it', () => {
    const all = hydraUnits({
      settings: settings(),
      package: path,
      facts: may2022,
      database,
      postgresql: 'postgresql@15-main.service',
    })
    expect(all.filter(({ text }) => text.includes('Requires='))).toEqual([])
    expect(unit('hydra-init.service')).toContain(
      'Wants=postgresql@15-main.service\nAfter=postgresql@15-main.service',
    )
    for (const name of ['hydra-server', 'hydra-evaluator', 'hydra-queue-runner', 'hydra-notify'])
      expect(unit(`${name}.service`)).toMatch(
        /Wants=hydra-init\.service\nAfter=hydra-init\.service nix-daemon\.socket network\.target[\s\S]*Restart=always/,
      )
  })

  it('send statistics only on request, and are otherwise removed', () => {
    expect(names(may2022)).not.toContain('hydra-send-stats.service')
    expect(allHydraUnits).toContain('hydra-send-stats.service')
    expect(names(may2022, { sendStats: true })).toContain('hydra-send-stats.service')
    const without = new Set([...may2022.programs].filter((name) => name !== 'hydra-send-stats'))
    expect(names({ ...may2022, programs: without }, { sendStats: true })).not.toContain(
      'hydra-send-stats.service',
    )
  })

  it('do not restart statistics that ended because there is no address to ask', () => {
    expect(unit('hydra-send-stats.service', { sendStats: true })).toContain('Restart=on-failure\n')
  })

  it('restart when a file that they read at their start has changed', () => {
    const postgresql = 'p.service'
    const reads = hydraUnits({
      settings: settings(),
      package: path,
      facts: may2022,
      database,
      postgresql,
    }).map((each) => [each.name, each.reads.join(' ')])
    expect(Object.fromEntries(reads)).toMatchObject({
      'hydra-init.service': '',
      'hydra-server.service': '/etc/hydra/hydra.conf',
      'hydra-queue-runner.service': '/etc/hydra/hydra.conf',
      'hydra-update-gc-roots.timer': '',
    })
  })

  it('keep the users and the writable places of the units that ran on Debian', () => {
    expect(unit('hydra-server.service')).toContain(
      `ExecStart=${path}/bin/hydra-server -f -h 127.0.0.1 -p 3000 --max_spare_servers 5 --max_servers 25 --max_requests 100\n`,
    )
    expect(unit('hydra-server.service')).toContain('User=hydra-www\n')
    expect(unit('hydra-server.service')).toContain(
      'ReadWritePaths=/var/lib/hydra/www /nix/var/nix/gcroots/hydra\n',
    )
    expect(unit('hydra-evaluator.service')).toContain('SuccessExitStatus=1\n')
    expect(unit('hydra-notify.service')).toContain(
      'ReadWritePaths=/var/lib/hydra/queue-runner /var/lib/hydra/build-logs /var/lib/hydra/runcommand-logs\n',
    )
    expect(unit('hydra-init.service')).toMatch(
      /Type=oneshot\nRemainAfterExit=true\nUser=hydra\n[\s\S]*Restart=on-failure/,
    )
  })

  it('let the queue runner write to the cache when there is one', () => {
    expect(unit('hydra-queue-runner.service')).toContain(
      'ReadWritePaths=/var/lib/hydra/queue-runner /var/lib/hydra/build-logs /nix/var/nix/gcroots/hydra\n',
    )
    expect(
      unit('hydra-queue-runner.service', { cache: { enable: true, directory: '/srv/cache' } }),
    ).toContain('/var/lib/hydra/build-logs /srv/cache /nix')
  })

  it('are all hardened', () => {
    const services = names(may2022).filter((name) => name.endsWith('.service'))
    for (const name of services)
      expect(unit(name)).toMatch(
        /NoNewPrivileges=true[\s\S]*ProtectSystem=strict[\s\S]*RestrictSUIDSGID=true/,
      )
  })

  it('hand mails to postfix of the machine by SMTP, because they could not use sendmail', () => {
    const mail = (hydra: Record<string, unknown>) =>
      [...unit('hydra-notify.service', hydra).matchAll(/EMAIL_SENDER_TRANSPORT\w*=[^"]*/g)].map(
        ([line]) => line,
      )
    expect(mail({})).toEqual([])
    expect(mail({ postfix: { enable: true } })).toEqual([
      'EMAIL_SENDER_TRANSPORT=SMTP',
      'EMAIL_SENDER_TRANSPORT_host=127.0.0.1',
    ])
    expect(mail({ postfix: { enable: true }, smtpHost: 'mail.example.org' })).toContain(
      'EMAIL_SENDER_TRANSPORT_host=mail.example.org',
    )
  })

  it('watch the disk on request', () => {
    expect(unit('hydra-check-space.timer')).toBe('')
    expect(unit('hydra-check-space.service', { minimumDiskFree: 2 })).toContain(
      'ExecStart=/bin/sh /etc/hydra/check-space.sh\n',
    )
    expect(spaceScript(settings({}))).toBeUndefined()
    const text = spaceScript(settings({ minimumDiskFree: 2 }))
    expect(text).toContain(
      'checks=hydra-queue-runner:/var/lib/hydra/.hydra-queue-runner-stopped-disk-space:2097152:2306868\n',
    )
    expect(text).not.toContain('hydra-evaluator')
  })

  it('escape characters that systemd would interpret', () => {
    const text = unit('hydra-server.service', { extraEnv: { MOTD: '50% "off" \\o/' } })
    expect(text).toContain('Environment="MOTD=50%% \\"off\\" \\\\o/"\n')
  })
})

describe('the address of Hydra’s database', () => {
  const older = { database: 'dbi', runner: 'goes-to-builders' } as const
  const newer = { database: 'url', runner: 'takes-builders' } as const

  it('is passed in the form of each generation', () => {
    expect(hydraEnvironment(database, older).HYDRA_DBI).toBe('dbi:Pg:dbname=hydra;user=hydra;')
    expect(hydraEnvironment(database, older, 'hydra-init').HYDRA_DBI).toBe(
      'dbi:Pg:dbname=hydra;user=hydra;application_name=hydra-init',
    )
    expect(hydraEnvironment({ name: 'ci', port: 5433 }, older).HYDRA_DBI).toBe(
      'dbi:Pg:dbname=ci;port=5433;user=hydra;',
    )
    expect(hydraEnvironment(database, newer).HYDRA_DATABASE_URL).toBe(
      'postgres://hydra@%2Frun%2Fpostgresql:5432/hydra',
    )
  })

  it('is also passed to login shells', () => {
    expect(shellProfile(database, older)).toContain("export HYDRA_DBI='dbi:Pg:dbname=hydra;user=hydra;'\n")
  })
})

describe('hydra.conf', () => {
  it('has the text that worked', () => {
    expect(
      hydraConfig(settings({ cache: { enable: true, secretKeyFile: '/etc/hydra/cache.sec' } }), may2022),
    ).toBe(`\
# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.
using_frontend_proxy = 1
base_uri = http://hydra.example.org:3000
notification_sender = hydra@hydra.example.org
max_servers = 25
compress_num_threads = 0
gc_roots_dir = /nix/var/nix/gcroots/hydra
use-substitutes = 0
store_uri = file:///var/lib/hydra/cache?secret-key=/etc/hydra/cache.sec
binary_cache_secret_key_file = /etc/hydra/cache.sec
`)
  })

  it('signs the answers of hydra-server also when only nix-serve is wanted, and nothing without a key', () => {
    expect(hydraConfig(settings({ nixServe: { enable: true } }), may2022)).toContain(
      'binary_cache_secret_key_file = /etc/nix/web/secret\n',
    )
    expect(hydraConfig(settings(), may2022)).not.toMatch(/store_uri|secret/)
  })

  it('escapes a "#" for Perl’s Config::General, which would begin a comment', () => {
    const text = hydraConfig(
      settings({ tracker: '<a href="#top">up</a>', notificationSender: 'hydra#1@example.org' }),
      may2022,
    )
    expect(text).toContain('tracker = <a href="\\#top">up</a>\n')
    expect(text).toContain('notification_sender = hydra\\#1@example.org\n')
  })

  it('accepts further lines', () => {
    expect(hydraConfig(settings({ extraConfig: 'max_concurrent_evals = 2\n' }), may2022)).toMatch(
      /\nmax_concurrent_evals = 2\n$/,
    )
  })
})

describe('hydra.conf with further lines that repeat an option of ours', () => {
  const all = {
    cache: { enable: true, secretKeyFile: '/etc/hydra/cache.sec' },
    logo: '/etc/hydra/logo.png',
    tracker: '<b>t</b>',
  }
  const conf = (extraConfig: string, facts = may2022) => hydraConfig(settings({ ...all, extraConfig }), facts)
  const linesOf = (text: string) => text.split('\n')
  const ours = (facts: HydraFacts) =>
    linesOf(conf('', facts))
      .flatMap((line) => /^([\w-]+) = /.exec(line)?.[1] ?? [])
      // hydra-ops refuses this option, because the units could not write to another folder.
      .filter((name) => name !== 'gc_roots_dir')

  it('has the user’s S3 bucket in the place of the cache on the machine', () => {
    const bucket = 'store_uri = s3://bucket?region=eu-west-1&secret-key=/etc/hydra/key'
    expect(linesOf(conf(bucket)).filter((line) => line.startsWith('store_uri'))).toEqual([bucket])
  })

  it('has each option once, whichever is repeated, in either form', () => {
    for (const facts of [may2022, { ...may2022, runner: 'takes-builders' } as const]) {
      expect(ours(facts).length).toBeGreaterThan(9)
      for (const name of ours(facts))
        for (const line of [`${name} = mine`, `  ${name}\tmine`, `${name} <<E\nmine\nE`]) {
          const text = conf(line, facts)
          expect(text.match(new RegExp(`^\\s*${name}\\s`, 'gm')), line).toHaveLength(1)
          expect(text).toContain(`\n${line}\n`)
        }
    }
  })

  it('keeps our option beside a block, a comment, an Include and a name in other letters', () => {
    const kept = [
      '<githubstatus>\n  base_uri = https://github.example.org\n</githubstatus>',
      '# base_uri = x',
      'Include /etc/hydra/base_uri',
      'Base_URI = x',
    ]
    for (const lines of kept) {
      const text = conf(lines)
      expect(text).toContain('\nbase_uri = http://hydra.example.org:3000\n')
      expect(text.endsWith(`${lines}\n`)).toBe(true)
    }
  })

  it('keeps the repetitions of the user, which Hydra reads as a list', () => {
    const lines = 'dynamicruncommand = 1\nmax_servers = 3\nmax_servers = 4'
    expect(conf(lines)).toMatch(/\ndynamicruncommand = 1\nmax_servers = 3\nmax_servers = 4\n$/)
    expect(conf(lines)).not.toContain('max_servers = 25')
  })
})

describe('the list of builders', () => {
  it('is the machine itself with all its capabilities when no builder is named', () => {
    expect(machinesFile([], may2022)).toBe(
      'localhost x86_64-linux,builtin - 2 1 kvm,nixos-test,benchmark,big-parallel - -\n',
    )
    expect(machinesFile([], { ...may2022, kvm: false })).not.toContain('kvm')
  })

  it('is the list of named builders', () => {
    const { buildMachines } = settings({
      buildMachines: [
        { hostName: 'localhost', systems: ['x86_64-linux'], maxJobs: 4 },
        {
          hostName: 'b.example.org',
          systems: ['aarch64-linux'],
          sshUser: 'builder',
          sshKey: '/etc/hydra/key',
          mandatoryFeatures: ['slow'],
          publicHostKey: 'AAAA',
        },
      ],
    }).options
    expect(machinesFile(buildMachines, may2022)).toBe(
      `localhost x86_64-linux - 4 1 kvm,nixos-test,benchmark,big-parallel - -
builder@b.example.org aarch64-linux /etc/hydra/key 1 1 slow slow AAAA
`,
    )
  })
})

describe('the URL of Hydra', () => {
  const urlOf = (hydra: Record<string, unknown>, published?: number) =>
    hydraSettings({
      ...taskMachine({ hydra: { enable: true, hostName: 'hydra.example.org', ...hydra } }),
      publishedPort: (port) =>
        port === 80 && published !== undefined ? { host: '127.0.0.1', port: published } : undefined,
    })?.url

  it.each<[Record<string, unknown>, number | undefined, string]>([
    [{}, undefined, 'http://hydra.example.org:3000'],
    [{ nginx: { enable: true } }, undefined, 'http://hydra.example.org'],
    [{ nginx: { enable: true } }, 28080, 'http://127.0.0.1:28080'],
    [{ nginx: { enable: true, tls: 'self-signed' } }, 28080, 'https://hydra.example.org'],
    [{ nginx: { enable: true, hostName: 'ci.example.org' } }, undefined, 'http://ci.example.org'],
    [{ nginx: { enable: true }, url: 'https://x.example.org/' }, 28080, 'https://x.example.org'],
  ])('is correct for %j, published at %s: %s', (hydra, published, url) => {
    expect(urlOf(hydra, published)).toBe(url)
  })
})
