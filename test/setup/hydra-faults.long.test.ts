import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { unsteadyUnits } from '../../src/remote/services.js'
import { slow } from '../fixtures/connected-guest.js'
import { HydraGuest, password } from './hydra-guest.js'
import { dyingBefore } from './task-contract.js'

/**
 * A guest for the faults that need systemd or a whole Hydra, in this order. Tests beside each task's code cover the
 * other faults without a guest. Hydra and nix-serve are stand-ins.
 */
let guest: HydraGuest

beforeAll(async () => {
  guest = await HydraGuest.start()
})
afterAll(async () => guest?.dispose())

const minute = 60_000

async function refusal(
  attempt: Promise<unknown>,
): Promise<{ message: string; hint: string; detail: string }> {
  const error: unknown = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  const said = (name: string) =>
    typeof error === 'object' && error !== null ? String(Reflect.get(error, name) ?? '') : ''
  return { message: said('message'), hint: said('hint'), detail: said('detail') }
}

/** Starts a foreign program on a port. */
async function squat(port: number): Promise<void> {
  await guest.sh(
    `systemd-run --quiet --collect --unit="squatter-$1" perl -MIO::Socket::INET -e '
$s = IO::Socket::INET->new(Listen => 5, LocalAddr => "0.0.0.0:$ARGV[0]", ReuseAddr => 1) or die; sleep' "$1"
for i in $(seq 100); do [ -z "$(ss -Hltn "sport = :$1")" ] || exit 0; sleep 0.2; done; exit 1`,
    String(port),
  )
}

const leave = (port: number) => guest.sh('systemctl stop "squatter-$1"', String(port))

describe('a reboot between two tasks', () => {
  it(
    'loses no finished work, and the rest follows',
    async () => {
      await guest.applyUpTo('cache-key')
      const key = await guest.sh('cat /etc/nix/web/public')
      await guest.connected.reboot()
      expect(await guest.notDone('cache-key')).toEqual({})
      await guest.applyUpTo('admin-user')
      expect(await guest.notDone()).toEqual({})
      expect(await guest.sh('cat /etc/nix/web/public')).toBe(key)
    },
    60 * minute,
  )

  it(
    'is made good by the next attempt when it strikes in the middle of a task',
    async () => {
      // The files are complete, but systemd has not read them yet.
      const changed = { extraConfig: 'max_concurrent_evals = 2\n', extraEnv: { LEFT: 'half-way' } }
      const task = guest.task('hydra', changed)
      const dying = dyingBefore(guest.host, 'start the services')
      await expect(task.apply(dying, guest.run())).rejects.toThrow('the machine is gone')
      await guest.connected.reboot()
      await task.apply(guest.host, guest.run())
      await task.verify(guest.host, guest.run())
      expect(await task.probe(guest.host, guest.run())).toBe('done')
      const environment = await guest.sh(
        `tr '\\0' '\\n' < /proc/$(systemctl show -p MainPID --value hydra-evaluator)/environ | grep ^LEFT=`,
      )
      expect(environment).toBe('LEFT=half-way')
      await guest.apply('hydra')
    },
    60 * minute,
  )
})

describe('a port that another program holds', () => {
  it.each<[number, string, string]>([
    [80, 'nginx', 'nginx'],
    [3000, 'hydra', 'hydra-server'],
    [5000, 'nix-serve', 'nix-serve'],
    [9198, 'hydra', 'hydra-queue-runner'],
  ])(
    'is named (%d) with its holder, also while our unit tries in vain, and taken back once it is free',
    async (port, id, unit) => {
      await guest.sh('systemctl stop "$1"', unit)
      await squat(port)
      try {
        for (const tries of ['', 'systemctl start "$1" || true']) {
          await guest.sh(tries, unit)
          const { message, hint } = await refusal(guest.apply(id))
          expect(message).toMatch(new RegExp(`port ${port} is taken by perl \\(process \\d+\\)$`))
          expect(hint).toContain('stop that program')
        }
      } finally {
        await leave(port)
      }
      await guest.apply(id)
      expect(await guest.notDone()).toEqual({})
    },
    30 * minute,
  )
})

describe('nginx with a broken site of somebody else', () => {
  it('goes on with its former configuration, and so does Hydra behind it', async () => {
    await guest.sh(
      `echo 'server { server_nam x; }' > /etc/nginx/sites-enabled/shop; echo '# x' >> /etc/nginx/sites-available/hydra-ops`,
    )
    const { message, detail } = await refusal(guest.apply('nginx'))
    expect(message).toContain('already has an error; it was not changed')
    expect(detail).toContain('unknown directive "server_nam" in /etc/nginx/sites-enabled/shop:1')
    await guest.task('admin-user').verify(guest.host, guest.run())
    await guest.sh('rm /etc/nginx/sites-enabled/shop')
    await guest.apply('nginx')
  })
})

describe('a database', () => {
  const version = () => guest.sql('select version from schemaversion')

  it(
    'is recognised as one of an older Hydra, and brought up to date by hydra-init',
    async () => {
      await guest.sql(`alter table buildsteps drop constraint buildsteps_resolved_consistent, drop column resolveddrvpath,
alter column drvpath drop not null; update schemaversion set version = 85`)
      expect(await guest.notDone('hydra')).toEqual({
        hydra: {
          drifted: expect.stringContaining(
            'the tables of Hydra have the version 85, but the package needs 87',
          ),
        },
      })
      await guest.apply('hydra')
      expect(await version()).toBe('87')
      expect(await guest.notDone()).toEqual({})
    },
    30 * minute,
  )

  it(
    'is left as it is when the upgrade fails, and hydra-init’s words are shown',
    async () => {
      // The database already has the change of a later version.
      await guest.sql('update schemaversion set version = 86')
      const { message, detail } = await refusal(guest.apply('hydra'))
      expect(message).toContain('start the services of hydra')
      expect(detail).toMatch(/hydra-init\.service is \w+:/)
      expect(detail).toContain('column "resolveddrvpath" of relation "buildsteps" already exists')
      expect(await version()).toBe('86')
      await guest.sql('update schemaversion set version = 87')
      await guest.apply('hydra')
      expect(await guest.notDone()).toEqual({})
    },
    30 * minute,
  )

  it(
    'gets its tables when it was made anew under a running Hydra',
    async () => {
      await guest.sh('cd /; runuser -u postgres -- psql -qX -c "drop database hydra with (force)"')
      expect(await guest.notDone('postgresql')).toEqual({
        postgresql: { drifted: 'the database hydra is missing', lost: true },
      })
      for (const id of ['postgresql', 'hydra', 'admin-user']) await guest.apply(id)
      expect(await guest.notDone()).toEqual({})
    },
    30 * minute,
  )
})

describe('a service', () => {
  it('does not count as up when it ends again and again', async () => {
    await guest.sh(`mkdir -p /etc/systemd/system/hydra-notify.service.d
printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c "sleep 2; exit 1"\\nRestartSec=1\\n' > /etc/systemd/system/hydra-notify.service.d/broken.conf
systemctl daemon-reload; systemctl restart hydra-notify`)
    const told = () =>
      unsteadyUnits(guest.host, ['hydra-notify.service', 'hydra-server.service'], guest.run())
    await vi.waitFor(
      async () =>
        expect(await told()).toEqual([
          expect.stringMatching(/^hydra-notify\.service was restarted \d+ times so far$/),
        ]),
      slow,
    )
    await guest.sh(
      'rm -r /etc/systemd/system/hydra-notify.service.d; systemctl daemon-reload; systemctl restart hydra-notify',
    )
    await vi.waitFor(async () => expect(await told()).toEqual([]), slow)
  })

  it(
    'comes back by itself when it is killed, as do all others and PostgreSQL',
    async () => {
      await guest.sh(`for unit in hydra-server hydra-evaluator hydra-queue-runner hydra-notify nix-serve nginx postgresql@15-main; do
  kill -9 $(systemctl show -p MainPID --value $unit)
done`)
      await vi.waitFor(async () => expect(await guest.notDone()).toEqual({}), {
        timeout: 10 * minute,
        interval: 1_000,
      })
      await guest.task('hydra').verify(guest.host, guest.run())
    },
    30 * minute,
  )
})

describe('a user', () => {
  it.each<[string, string]>([
    [
      'of every character',
      Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join(''),
    ],
    ['of 200 characters', `${'ä€'.repeat(99)} "`],
  ])('logs in through nginx with a password %s', async (_, text) => {
    const users = { bob: { roles: ['restart-jobs'], password: { prompt: true } } }
    const task = guest.task('admin-user', { users })
    const run = guest.run({ secrets: { 'hydra-user-bob': text } })
    await task.apply(guest.host, run)
    await task.verify(guest.host, run)
    expect(await guest.sh(`journalctl --no-pager | grep -cF -- "$1" || true`, text)).toBe('0')
  })
})

describe('a pair of operators at once, without a lock between them,', () => {
  it(
    'spoils nothing: the machine is done when both operators are',
    async () => {
      await guest.sh(
        'systemctl stop hydra-notify; echo "# x" >> /etc/hydra/hydra.conf; rm /etc/nginx/sites-enabled/hydra-ops',
      )
      const attempt = async () => {
        for (const id of [
          'postgresql',
          'cache-key',
          'binary-cache',
          'nix-serve',
          'hydra',
          'nginx',
          'admin-user',
        ])
          await guest.task(id).apply(guest.host, guest.run())
      }
      const key = await guest.sh('sha256sum /etc/nix/web/secret /etc/nix/web/public')
      await Promise.allSettled([attempt(), attempt()])
      for (const id of ['hydra', 'nginx']) await guest.apply(id)
      expect(await guest.notDone()).toEqual({})
      expect(await guest.sh('sha256sum /etc/nix/web/secret /etc/nix/web/public')).toBe(key)
    },
    30 * minute,
  )
})

describe('a build after all these faults', () => {
  it('is green and signed, and the password is in no log', async () => {
    const task = guest.task('hydra-proof')
    await task.verify(guest.host, guest.run())
    expect(await task.probe(guest.host, guest.run())).toBe('done')
    expect(await guest.sh('journalctl --no-pager | grep -cF "$1" || true', password.slice(0, 8))).toBe('0')
  })
})
