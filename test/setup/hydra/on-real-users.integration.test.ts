import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bindTask, type WantedTask } from '../../../src/core/setup-task.js'
import { binaryCacheTask } from '../../../src/setup/hydra/binary-cache.js'
import { hydraAccountsTask } from '../../../src/setup/hydra/unix-users.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { RootNamespace } from '../../fixtures/root-namespace.js'
import { taskContract } from '../task-contract.js'
import { accountDamages, resetAccounts } from './accounts-on-machine.js'

const run = taskRun()
let machine: RootNamespace

beforeAll(async () => {
  machine = await RootNamespace.start()
})
afterAll(async () => machine?.dispose())

function wanted(bind: ReturnType<typeof bindTask>, cache: Record<string, unknown> = {}): WantedTask {
  const task = bind(taskMachine({ hydra: { enable: true, cache: { enable: true, ...cache } } }))
  if (task === undefined) throw new Error('the task is not wanted')
  return task
}

const accounts = () => wanted(bindTask(hydraAccountsTask))
const cache = (options: Record<string, unknown> = {}) => wanted(bindTask(binaryCacheTask), options)

describe('the task for users and directories of Hydra, on real users,', () => {
  taskContract(() => ({
    host: machine.host,
    task: accounts(),
    // The machine has no Nix daemon.
    verifiable: false,
    reset: resetAccounts,
    damages: {
      ...accountDamages,
      'user of another group': 'usermod -g nogroup hydra-www',
      'user gone': 'userdel hydra-queue-runner',
    },
  }))

  it('keeps the content of a directory, its owner, and a link to another disk', async () => {
    await accounts().apply(machine.host, run)
    await machine.sh(`touch /var/lib/hydra/build-logs/log; chown nobody /var/lib/hydra/build-logs/log
mkdir /srv/hydra; mv /var/lib/hydra/* /srv/hydra/; rmdir /var/lib/hydra; ln -s /srv/hydra /var/lib/hydra`)
    await accounts().apply(machine.host, run)
    expect(await accounts().probe(machine.host, run)).toBe('done')
    expect(await machine.sh('readlink /var/lib/hydra; stat -c %U /srv/hydra/build-logs/log')).toBe(
      '/srv/hydra\nnobody',
    )
    await machine.sh('rm /var/lib/hydra; rm -r /srv/hydra')
  })
})

describe('the static cache, on real users', () => {
  beforeAll(async () => {
    await accounts().apply(machine.host, run)
    await machine.sh(`mkdir -p /etc/nix/web; chgrp hydra /etc/nix/web; chmod 0750 /etc/nix/web
echo key > /etc/nix/web/secret; chgrp hydra /etc/nix/web/secret; chmod 0640 /etc/nix/web/secret`)
  })

  taskContract(() => ({
    host: machine.host,
    task: cache(),
    verifiable: true,
    reset: 'rm -rf /var/lib/hydra/cache',
    damages: {
      'of another owner': 'chown root /var/lib/hydra/cache',
      'closed to all others': 'chmod 0700 /var/lib/hydra/cache',
      'nix-cache-info gone': 'rm /var/lib/hydra/cache/nix-cache-info',
      'nix-cache-info half written': 'printf "StoreDir: /ni" > /var/lib/hydra/cache/nix-cache-info',
    },
  }))

  it('is proved only when all signing users can read the key', async () => {
    await cache().apply(machine.host, run)
    for (const [damage, user] of [
      ['chmod 0600 /etc/nix/web/secret', 'hydra-queue-runner'],
      ['chmod 0700 /etc/nix/web', 'hydra-queue-runner'],
      ['chown hydra-queue-runner /etc/nix/web/secret; chmod 0600 /etc/nix/web/secret', 'hydra-www'],
    ] as const) {
      await machine.sh(damage)
      await expect(cache().verify(machine.host, run), damage).rejects.toMatchObject({
        detail: `${user} cannot read /etc/nix/web/secret`,
      })
      await machine.sh(
        'chown root /etc/nix/web/secret; chmod 0640 /etc/nix/web/secret; chmod 0750 /etc/nix/web',
      )
    }
    await cache().verify(machine.host, run)
  })

  it('reports that a folder above it is closed to its user', async () => {
    await machine.sh('mkdir -p -m 0700 /srv/closed')
    const closed = cache({ directory: '/srv/closed/cache' })
    await closed.apply(machine.host, run)
    await expect(closed.verify(machine.host, run)).rejects.toMatchObject({
      message: expect.stringContaining('write to the cache as its user'),
      hint: 'check that hydra-queue-runner may enter each parent folder of the cache',
    })
  })

  it.each<[string, string, Record<string, unknown>]>([
    [
      'space',
      'mount -t tmpfs -o size=1m,mode=755 tmpfs /srv/full',
      {
        message: "machine 'local': there is not enough free space for the cache in /srv/full",
        hint: expect.stringContaining('another disk'),
        detail: expect.stringMatching(/^only \d+ KiB are free$/),
      },
    ],
    [
      'an inode',
      'mount -t tmpfs -o size=64m,mode=777,nr_inodes=2 tmpfs /srv/full && touch /srv/full/nix-cache-info',
      { detail: expect.stringContaining('No space left on device') },
    ],
  ])('reports that there is no room: not %s', async (_, fill, error) => {
    // A mount vanishes with its command, unless it belongs to the machine's own namespace.
    await machine.sh(`mkdir -p /srv/full; ${fill}`)
    const full = cache({ directory: '/srv/full' })
    await expect(full.apply(machine.host, run)).rejects.toMatchObject(error)
    await machine.sh('umount /srv/full')
    await full.apply(machine.host, run)
    await full.verify(machine.host, run)
    await machine.sh('rm -r /srv/full')
  })

  it('refuses a folder with somebody’s files, and accepts an empty folder or a cache', async () => {
    await machine.sh(`mkdir -p /srv/shop /srv/disk/lost+found /srv/old; touch /srv/shop/orders
echo x > /srv/old/00000000000000000000000000000000.narinfo`)
    await expect(cache({ directory: '/srv/shop' }).apply(machine.host, run)).rejects.toMatchObject({
      message:
        "machine 'local': /srv/shop holds files that do not belong to a binary cache; it was not touched",
      hint: expect.stringContaining('cache.directory'),
    })
    expect(await machine.sh('stat -c %U /srv/shop')).toBe('root')
    for (const directory of ['/srv/disk', '/srv/old', '/srv/new'])
      await cache({ directory }).apply(machine.host, run)
    expect(await machine.sh('cat /srv/old/*.narinfo')).toBe('x')
  })
})
