import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import type { TaskRun } from '../../src/core/setup-task.js'
import { HydraGuest } from './hydra-guest.js'
import { taskContract } from './task-contract.js'

/** A guest for the tasks that need packages, in this order. Hydra and nix-serve are stand-ins. */
let guest: HydraGuest

beforeAll(async () => {
  guest = await HydraGuest.start('binary-cache')
})
afterAll(async () => guest?.dispose())

describe('the nix-serve task on a guest', () => {
  taskContract(() => ({
    host: guest.host,
    task: guest.task('nix-serve'),
    run: guest.run(),
    verifiable: true,
    reset: `systemctl disable --quiet --now nix-serve 2>/dev/null
rm -rf /etc/systemd/system/nix-serve.service /run/hydra-ops/restart/nix-serve; systemctl daemon-reload`,
    damages: {
      'unit changed': 'echo "# x" >> /etc/systemd/system/nix-serve.service',
      stopped: 'systemctl stop nix-serve',
      'not started at boot': 'systemctl --quiet disable nix-serve',
      'without nix-command, so that its NARs are empty': `sed -i '/^Environment="NIX_CONFIG=/d' /etc/systemd/system/nix-serve.service
systemctl daemon-reload; systemctl restart nix-serve`,
    },
    // Other tests cover a crash at each step without a guest: services.integration.test.ts,
    // hydra/users-task.integration.test.ts.
    crashEvery: 4,
  }))
})

describe('the proof of nix-serve on a guest', () => {
  it('does not hold while its NARs are empty, and names the missing feature', async () => {
    await guest.apply('nix-serve')
    await guest.sh(`mkdir -p /run/systemd/system/nix-serve.service.d
printf '[Service]\\nEnvironment="NIX_CONFIG=experimental-features ="\\n' > /run/systemd/system/nix-serve.service.d/test.conf
systemctl daemon-reload; systemctl restart nix-serve`)
    await expect(guest.task('nix-serve').verify(guest.host, guest.run())).rejects.toMatchObject({
      code: 'LASTING_CAUSE',
      message: expect.stringMatching(
        /nar\/\S+: the answer ended after 0 of \d+ bytes; `nix dump-path` fails on the machine/,
      ),
      detail: expect.stringContaining("experimental Nix feature 'nix-command' is disabled"),
    })
    await guest.sh(
      `rm -r /run/systemd/system/nix-serve.service.d; systemctl daemon-reload; systemctl restart nix-serve`,
    )
    await guest.task('nix-serve').verify(guest.host, guest.run())
  })
})

const units = 'hydra-init hydra-server hydra-evaluator hydra-queue-runner hydra-notify'

describe('the hydra task on a guest', () => {
  taskContract(() => ({
    host: guest.host,
    task: guest.task('hydra'),
    run: guest.run(),
    verifiable: true,
    reset: `systemctl disable --quiet --now ${units} hydra-update-gc-roots.timer 2>/dev/null
rm -rf /etc/systemd/system/hydra-* /etc/hydra /etc/profile.d/hydra.sh /var/lib/hydra/hydra.conf /run/hydra-ops/restart/hydra
systemctl daemon-reload`,
    damages: {
      'a service stopped': 'systemctl stop hydra-evaluator',
      'a unit changed': 'echo "# x" >> /etc/systemd/system/hydra-server.service',
      'a unit that is not wished any more': `printf '[Service]\\nExecStart=/bin/sleep inf\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/hydra-send-stats.service
systemctl daemon-reload; systemctl --quiet enable --now hydra-send-stats`,
      'its configuration changed': 'echo "# x" >> /etc/hydra/hydra.conf',
      'its configuration led elsewhere': 'ln -sfn /dev/null /var/lib/hydra/hydra.conf',
      'its tables gone': `systemctl stop hydra-server hydra-evaluator hydra-queue-runner hydra-notify; cd /
runuser -u hydra -- psql -Xq -U hydra -c 'drop schema public cascade; create schema public' 2>/dev/null
systemctl start hydra-server hydra-evaluator hydra-queue-runner hydra-notify`,
    },
    crashEvery: 7,
  }))
})

describe('the admin-user task on a guest', () => {
  beforeAll(async () => {
    await guest.apply('hydra')
    await guest.apply('nginx')
  })
  const sql = (statement: string) =>
    `cd /; runuser -u hydra -- psql -XqAt -U hydra -c "${statement}" > /dev/null`

  taskContract(() => ({
    host: guest.host,
    task: guest.task('admin-user'),
    run: guest.run(),
    verifiable: true,
    reset: sql('delete from userroles; delete from projects; delete from users'),
    damages: {
      'role taken away': sql('delete from userroles'),
      'role added': sql("insert into userroles values ('alice', 'restart-jobs')"),
      'name changed': sql("update users set fullname = 'Mallory'"),
      'mail changed': sql("update users set emailaddress = 'mallory@example.org'"),
    },
    crashEvery: 4,
  }))
})

describe('the nginx task on a guest', () => {
  const shop = '/etc/nginx/sites-enabled/a-shop'

  it('names the file of another site with its name, and works again when that site is removed', async () => {
    await guest.sh(
      `echo 'server { listen 80; server_name hydra.example.org; }' > ${shop}; systemctl reload nginx`,
    )
    const said = `another site of nginx has the same server_name: ${shop} (hydra.example.org)`
    expect(await guest.task('nginx').probe(guest.host, guest.run())).toEqual({ drifted: said })
    await expect(guest.task('nginx').verify(guest.host, guest.run())).rejects.toThrow(said)
    await guest.sh(`rm ${shop}; systemctl reload nginx`)
    await guest.apply('nginx')
  })

  it('lets users of a proxy that decrypts log in, and so does the proof', async () => {
    const hydra = { url: 'https://hydra.example.org' }
    for (const id of ['hydra', 'nginx', 'admin-user']) await guest.apply(id, hydra)
    for (const id of ['hydra', 'nginx', 'admin-user']) await guest.apply(id)
  })
})

describe('the proof on a guest', () => {
  /** Creates a run that fails after a number of requests to Hydra, as if the operator's process died. */
  function dying(after: number): TaskRun {
    const run = guest.run()
    let left = after
    return {
      ...run,
      connect: async (...given) => {
        if (left <= 0) throw failure('CONNECTION_LOST', 'the machine is gone (by this test)')
        left -= 1
        return run.connect(...given)
      },
    }
  }

  it.each([
    ['before the project is there', 1],
    ['before the jobset is there', 2],
    ['before the build is asked for', 4],
    ['while it is built', 5],
  ])('is given by the next attempt when it was killed %s', async (_, requests) => {
    await guest.sql("delete from projects where name = 'hydra-ops-probe'")
    const proof = guest.task('hydra-proof')
    await expect(proof.verify(guest.host, dying(requests))).rejects.toThrow('the machine is gone')
    expect(await proof.probe(guest.host, guest.run())).toBe('needed')
    await proof.verify(guest.host, guest.run())
    expect(await proof.probe(guest.host, guest.run())).toBe('done')
    expect(await guest.sql("select enabled from jobsets where project = 'hydra-ops-probe'")).toBe('0')
    expect(await guest.sql("select enabled from projects where name = 'hydra-ops-probe'")).toBe('0')
  })
})
