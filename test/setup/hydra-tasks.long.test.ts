import { afterAll, beforeAll, describe } from 'vitest'
import { bindTask, type TaskMachine, type WantedTask } from '../../src/core/setup-task.js'
import { cacheKeyTask } from '../../src/setup/cache-key.js'
import { binaryCacheTask } from '../../src/setup/hydra/binary-cache.js'
import { hydraAccountsTask } from '../../src/setup/hydra/unix-users.js'
import { nginxTask } from '../../src/setup/nginx/task.js'
import { nixTask } from '../../src/setup/nix.js'
import { postgresqlTask } from '../../src/setup/postgresql/task.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { ConnectedGuest } from '../fixtures/connected-guest.js'
import { accountDamages, resetAccounts } from './hydra/accounts-on-machine.js'
import { taskContract } from './task-contract.js'

/** A guest for the tasks that need no package of Hydra, in the order of their dependencies. */
let guest: ConnectedGuest

beforeAll(async () => {
  guest = await ConnectedGuest.start()
  for (const bind of [bindTask(nixTask), bindTask(hydraAccountsTask)])
    await wanted(bind).apply(guest.host, taskRun())
})
afterAll(async () => guest?.dispose())

function wanted(bind: (machine: TaskMachine) => WantedTask | undefined): WantedTask {
  const task = bind(
    taskMachine({ hydra: { enable: true, cache: { enable: true }, nginx: { enable: true } } }),
  )
  if (task === undefined) throw new Error('the task is not wanted')
  return task
}

const hba = '/etc/postgresql/15/main/pg_hba.conf'
const resetDatabase = `
systemctl start postgresql@15-main; cd /
runuser -u postgres -- psql -qXc 'drop database if exists hydra' -c 'drop role if exists hydra'
sed -i '/hydra/d' ${hba} /etc/postgresql/15/main/pg_ident.conf
rm -rf /etc/systemd/system/postgresql@.service.d
systemctl daemon-reload; systemctl reload postgresql@15-main`

describe('users and directories of Hydra on a guest', () => {
  taskContract(() => ({
    host: guest.host,
    task: wanted(bindTask(hydraAccountsTask)),
    verifiable: true,
    reset: resetAccounts,
    damages: accountDamages,
  }))
})

describe('the postgresql task on a guest, with users of their own', () => {
  taskContract(() => ({
    host: guest.host,
    task: wanted(bindTask(postgresqlTask)),
    verifiable: true,
    reset: resetDatabase,
    damages: {
      'rule behind the general ones': `sed -i '1,2d' ${hba}; echo 'local hydra all ident map=hydra-users' >> ${hba}; systemctl reload postgresql@15-main`,
      'database gone': `cd /; runuser -u postgres -- dropdb hydra`,
      'cluster stopped': 'systemctl stop postgresql@15-main',
    },
    // Another test covers a crash at each step on a real PostgreSQL without a guest:
    // postgresql/task.integration.test.ts.
    crashEvery: 8,
  }))
})

describe('the signing key of Hydra on a guest', () => {
  taskContract(() => ({
    host: guest.host,
    task: wanted(bindTask(cacheKeyTask)),
    verifiable: true,
    reset: 'rm -rf /etc/nix/web',
    damages: {
      'public key gone': 'rm /etc/nix/web/public',
      'secret key closed to its group': 'chmod 0600 /etc/nix/web/secret',
    },
    // Another test covers a crash at each step without a guest: cache-key.integration.test.ts.
    crashEvery: 4,
  }))
})

describe('the static cache on a guest', () => {
  taskContract(() => ({
    host: guest.host,
    task: wanted(bindTask(binaryCacheTask)),
    verifiable: true,
    reset: 'rm -rf /var/lib/hydra/cache',
    damages: {
      'of another owner': 'chown root /var/lib/hydra/cache',
      'nix-cache-info gone': 'rm /var/lib/hydra/cache/nix-cache-info',
    },
    // Another test covers a crash at each step without a guest: hydra/on-real-users.integration.test.ts.
    crashEvery: 3,
  }))
})

describe('the nginx task on a guest', () => {
  taskContract(() => ({
    host: guest.host,
    task: wanted(bindTask(nginxTask)),
    // The operator reaches the guest only over ssh; the test of a whole Hydra checks the users' view.
    verifiable: false,
    reset: `systemctl stop nginx; rm -f /etc/nginx/sites-*/hydra-ops /run/hydra-ops/nginx-reload
ln -sfn ../sites-available/default /etc/nginx/sites-enabled/default`,
    damages: {
      'site changed': 'echo "# x" >> /etc/nginx/sites-available/hydra-ops',
      'site disabled': 'rm /etc/nginx/sites-enabled/hydra-ops; systemctl reload nginx',
      'nginx stopped': 'systemctl stop nginx',
      'nginx not started at boot': 'systemctl --quiet disable nginx',
    },
    // Another test covers a crash at each step on a stand-in: nginx/task.integration.test.ts.
    crashEvery: 4,
  }))
})
