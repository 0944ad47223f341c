import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TaskRun, WantedTask } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { batchedHost } from '../../../src/remote/batched-host.js'
import { setupTasks } from '../../../src/setup/tasks.js'
import { debian } from '../../../src/systems/debian/debian.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { RootNamespace } from '../../fixtures/root-namespace.js'

const run: TaskRun = taskRun()
const [version = ''] = readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a))
const hydra = '/nix/store/00000000000000000000000000000000-hydra'
const nixServe = '/nix/store/11111111111111111111111111111111-nix-serve'
const definition = taskMachine({
  aptPackages: ['python3'],
  hydra: {
    enable: true,
    package: hydra,
    hostName: 'hydra.example.org',
    cache: { enable: true },
    nixServe: { enable: true, package: nixServe },
    nginx: { enable: true, cacheHostName: 'cache.example.org' },
    admin: {
      userName: 'alice',
      fullName: 'Alice Q. User',
      emailAddress: 'alice@example.org',
      password: { file: '/password' },
    },
  },
})
let machine: RootNamespace

/** A stand-in for systemctl that runs no other program. All units are enabled and active, as the tasks ask for them. */
const systemctl = `verb= units=
for word do case $word in --*) ;; *) [ -n "$verb" ] && units="$units $word" || verb=$word ;; esac; done
for unit in $units; do
  case $verb in
    is-active) echo active ;;
    is-enabled) case $unit in postgresql*) echo enabled-runtime ;; *) echo enabled ;; esac ;;
  esac
done
case $verb in start) case $units in *postgresql*) pg_ctlcluster ${version} main start || exit 1 ;; esac ;; esac
exit 0`

/** A stand-in for nginx, which may not bind its port here. It accepts each configuration. */
const nginx = `[ "$1" != -T ] || while IFS= read -r line; do printf '%s\\n' "$line"; done < /etc/nginx/sites-enabled/hydra-ops`

/** A stand-in for Hydra's programs. The queue runner says that it is up. */
const programs = `mkdir -p ${hydra}/bin ${nixServe}/bin
for name in init server evaluator queue-runner create-user notify send-stats update-gc-roots; do
  printf '#!/bin/sh\\necho "{\\\\"status\\\\":\\\\"up\\\\"}"\\n' > ${hydra}/bin/hydra-$name
done
printf '#!/bin/sh\\n' > ${nixServe}/bin/nix-serve
chmod 755 ${hydra}/bin/* ${nixServe}/bin/*`

const tables = `create table schemaversion (version integer); insert into schemaversion values (84);
create table users (username text, fullname text, emailaddress text, password text);
create table userroles (username text, role text);
insert into users values ('alice', 'Alice Q. User', 'alice@example.org', 'x');
insert into userroles values ('alice', 'admin')`

beforeAll(async () => {
  machine = await RootNamespace.start({ systemctl, nginx, journalctl: ':' })
  await machine.sh(programs)
  await machine.sh(`install -d -o postgres -g postgres /var/lib/postgresql /var/log/postgresql /etc/postgresql
install -d -m 2775 -o postgres -g postgres /run/postgresql
mkdir -p /var/log/nginx /var/lib/nginx
{ pg_createcluster -o listen_addresses= ${version} main -- --no-sync && pg_ctlcluster ${version} main start; } > /run/pg 2>&1 || { cat /run/pg; exit 1; }
setsid env NIX_CONFIG='substituters =' nix-daemon < /dev/null > /run/daemon-log 2>&1 &
for _ in $(seq 200); do [ ! -S /nix/var/nix/daemon-socket/socket ] || exit 0; sleep 0.1; done; exit 1`)
  for (const task of tasks().filter(({ id }) => id !== 'admin-user')) await task.apply(machine.host, run)
  await machine.sh(`cd /; runuser -u hydra -- psql -Xq -d hydra -c "$1"`, tables)
})
afterAll(async () => machine?.dispose())

function tasks(): WantedTask[] {
  return setupTasks.flatMap((bind) => bind(definition) ?? [])
}

/** Looks at the machine as an unchanged deploy does, and returns the state of each task. */
async function lookAtAll(host: Host): Promise<Record<string, unknown>> {
  const all = tasks()
  const [, ...states] = await Promise.all([
    debian.look(host, definition.definition, all, run),
    ...all.map(async (task) => [task.id, await task.probe(host, run)] as const),
  ])
  return Object.fromEntries(states)
}

/** Returns the programs of a trace, and the number of started processes. */
function started(trace: string): { readonly programs: string[]; readonly processes: number } {
  const lines = trace.split('\n')
  // strace divides a call during which another process did something.
  const programs = lines.filter((line) => /execve(\(| resumed).* = 0$/.test(line))
  const processes = lines.filter((line) => /(clone3?|v?fork)(\(| resumed).* = \d+$/.test(line))
  return { programs, processes: processes.length }
}

it('an unchanged look at a whole Hydra starts few programs, and asks no program of PostgreSQL in Perl', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ho-look-'))
  try {
    const calls = 'trace=execve,clone,clone3,fork,vfork'
    const file = join(folder, 'trace')
    const host = machine.hostUnder(['strace', '-f', '-qq', '-A', '-s', '400', '-e', calls, '-o', file])
    // Nothing listens on Hydra's ports here, and systemd has no timer. These tasks run all their questions all the same.
    expect(await lookAtAll(batchedHost(host))).toMatchObject({
      'hydra-accounts': 'done',
      postgresql: 'done',
      'cache-key': 'done',
      'binary-cache': 'done',
      'nix-serve': 'done',
      hydra: { drifted: 'the evaluator has no connection to the database; nothing listens on port 3000' },
      nginx: 'done',
      'admin-user': 'done',
      'hydra-proof': 'needed',
    })
    expect(host.seen).toHaveLength(2)
    const { programs, processes } = started(readFileSync(file, 'utf8'))
    expect(programs.filter((line) => line.includes('pg_lsclusters'))).toEqual([])
    expect(programs.length, programs.join('\n')).toBeLessThanOrEqual(66)
    expect(processes).toBeLessThanOrEqual(170)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
