import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bindTask } from '../../src/core/setup-task.js'
import { cacheKeyTask } from '../../src/setup/cache-key.js'
import { nixTask } from '../../src/setup/nix.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { ConnectedGuest } from '../fixtures/connected-guest.js'
import { type ContractSubject, taskContract } from './task-contract.js'

const run = taskRun()

let guest: ConnectedGuest

beforeAll(async () => {
  guest = await ConnectedGuest.start()
})
afterAll(async () => guest?.dispose())

function wanted(bind: ReturnType<typeof bindTask>, options: Record<string, unknown>) {
  const task = bind(taskMachine(options))
  if (task === undefined) throw new Error('the task is not wanted')
  return task
}

describe('the nix task on a guest', () => {
  const options = { nix: { gc: { automatic: true, dates: 'daily', options: '--delete-older-than 30d' } } }
  taskContract(
    (): ContractSubject => ({
      host: guest.host,
      task: wanted(bindTask(nixTask), options),
      verifiable: true,
      reset: `
systemctl --quiet disable --now nix-daemon.socket nix-daemon.service hydra-ops-nix-gc.timer 2>/dev/null
systemctl reset-failed nix-daemon.socket nix-daemon.service 2>/dev/null
rm -f /etc/nix/hydra-ops.conf /etc/systemd/system/hydra-ops-nix-gc.* /run/hydra-ops/*
sed -i '/hydra-ops/d' /etc/nix/nix.conf`,
      damages: {
        'settings changed': 'echo "sandbox = false" >> /etc/nix/hydra-ops.conf',
        'Debian’s file restored': `sed -i '/hydra-ops/d' /etc/nix/nix.conf`,
        'socket stopped': 'systemctl stop nix-daemon.socket nix-daemon.service',
        'socket disabled': 'systemctl --quiet disable nix-daemon.socket',
        'timer stopped': 'systemctl stop hydra-ops-nix-gc.timer',
      },
    }),
  )

  it('gives a daemon whose sandbox has a shell, and which asks no cache', async () => {
    await wanted(bindTask(nixTask), options).apply(guest.host, run)
    const expression = `derivation {
  name = "sandboxed"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "echo built > $out; [ ! -e /etc/fstab ]" ];
}`
    const built = await guest.sh(
      `NIX_REMOTE=daemon nix-store -r $(NIX_REMOTE=daemon nix-instantiate -E "$1" 2>/dev/null) 2>/dev/null | xargs cat`,
      expression,
    )
    expect(built).toBe('built')
    expect(
      await guest.sh(`nix --extra-experimental-features nix-command show-config | grep '^substituters'`),
    ).toBe('substituters =')
  })
})

describe('the cache-key task on a guest', () => {
  taskContract(
    (): ContractSubject => ({
      host: guest.host,
      task: wanted(bindTask(cacheKeyTask), { cacheKey: { enable: true, group: 'signers' } }),
      verifiable: true,
      reset: 'rm -rf /etc/hydra-ops/cache-key; getent group signers > /dev/null || groupadd signers',
      damages: {
        'public key gone': 'rm /etc/hydra-ops/cache-key/cache.pub',
        'public key of another': 'echo other-1:AAAA > /etc/hydra-ops/cache-key/cache.pub',
        'secret key of another group': 'chgrp root /etc/hydra-ops/cache-key/cache.sec',
        'secret key readable by all': 'chmod 0644 /etc/hydra-ops/cache-key/cache.sec',
      },
    }),
  )

  it('lets its group read the secret key, and nobody else', async () => {
    await guest.sh('useradd --system --groups signers signer; useradd --system stranger')
    expect(
      await guest.sh(
        'runuser -u signer -- wc -l < /dev/null; runuser -u signer -- head -c 9 /etc/hydra-ops/cache-key/cache.sec',
      ),
    ).toContain('lab-web-1')
    const refused = await guest.sh(
      'runuser -u stranger -- cat /etc/hydra-ops/cache-key/cache.sec 2>&1 || true',
    )
    expect(refused).toContain('Permission denied')
  })
})
