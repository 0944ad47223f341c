import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createSocketServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { healthProblems, unitsWithoutNixAccess, webProblem } from '../../../src/setup/hydra/health.js'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'

let folder: string
let host: LocalShellHost
let server: Server | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-health-'))
  mkdirSync(join(folder, 'hydra'))
  const moved = { '/var/lib/hydra': join(folder, 'hydra'), '/proc': join(folder, 'proc') }
  host = new LocalShellHost({ bin: folder, moved })
})
afterEach(() => {
  server?.close()
  rmSync(folder, { recursive: true, force: true })
})

function standIn(name: string, body: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

/** Lets `timeout` wait for three seconds instead of its usual time. */
function shortTimeout(): void {
  standIn('timeout', 'shift; exec /usr/bin/timeout 3 "$@"')
}

function settings(hydra: Record<string, unknown>): HydraSettings {
  const found = hydraSettings(taskMachine({ hydra: { enable: true, ...hydra } }))
  if (found === undefined) throw new Error('no Hydra is wanted')
  return found
}

/** Starts a web server that answers every request with one status. */
async function web(address: string, status: number): Promise<number> {
  const listening = createServer((_, response) => response.writeHead(status).end())
  server = listening
  // The kernel may choose a port that has a listener at another address.
  const port = await freePort()
  await new Promise<void>((resolve) => listening.listen(port, address, resolve))
  return port
}

describe('the health check of hydra-server', () => {
  it.each<[number, string | undefined]>([
    [200, undefined],
    // A private Hydra (`private = 1` in hydra.conf) answers anonymous requests with this status.
    [403, undefined],
    [500, 'the web server answers with status 500'],
  ])('reports for an answer with status %i: %s', async (status, wrong) => {
    const port = await web('127.0.0.1', status)
    expect(await webProblem(settings({ port }), taskRun())).toBe(wrong)
  })

  it('asks hydra-server at its own address', async () => {
    const port = await web('127.0.0.2', 200)
    expect(await webProblem(settings({ port, listenHost: '127.0.0.2' }), taskRun())).toBeUndefined()
    await expect(webProblem(settings({ port }), taskRun())).rejects.toThrow('ECONNREFUSED')
  })
})

describe('a service that began before its user got access to the Nix daemon', () => {
  beforeEach(() => {
    // systemd prints the properties in its own order; a timer has no process (seen with systemd 252).
    standIn(
      'systemctl',
      `while case $1 in --*) ;; *) false ;; esac; do shift; done
for last do :; done
for unit do
  case $unit in runs.service) echo MainPID=4711 ;; *.service) echo MainPID=0 ;; esac
  echo "Id=$unit"
  [ "$unit" = "$last" ] || echo
done`,
    )
    standIn('getent', 'echo nix-users:x:30000:hydra')
    mkdirSync(join(folder, 'proc/4711'), { recursive: true })
  })
  const runsWith = (groups: string) =>
    writeFileSync(join(folder, 'proc/4711/status'), `Name:\tperl\nGroups:\t${groups}\nVmPeak:\t30000 kB\n`)

  it('is recognised by the groups of its processes', async () => {
    runsWith('101 300000 ')
    expect(
      await unitsWithoutNixAccess(host, ['runs.service', 'stopped.service', 'x.timer'], taskRun()),
    ).toEqual(['runs.service'])
  })

  it('is no longer reported when its processes have the group', async () => {
    runsWith('101 30000 ')
    expect(await unitsWithoutNixAccess(host, ['runs.service'], taskRun())).toEqual([])
  })

  it('is not reported when there is no such group', async () => {
    standIn('getent', 'exit 2')
    runsWith('101 ')
    expect(await unitsWithoutNixAccess(host, ['runs.service'], taskRun())).toEqual([])
  })
})

describe('a database of Hydra', () => {
  const installed = { facts: { runner: 'goes-to-builders' }, environment: {}, databasePort: 5432 } as const
  const about = async () =>
    (await healthProblems(host, settings({}), installed, taskRun())).filter((each) =>
      /database|tables|queue runner|evaluator/.test(each),
    )
  const psql = (body: string) =>
    standIn('runuser', `case $* in *psql*) ${body} ;; *--status*) exit 1 ;; *) exit 0 ;; esac`)

  it('is reported with the words of psql when it is down, without facts that only the database knows', async () => {
    psql(
      `echo 'psql: error: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: No such file or directory' >&2
printf '\\tIs the server running locally and accepting connections on that socket?\\n' >&2; exit 2`,
    )
    expect(await about()).toEqual([
      'the database hydra cannot be queried: psql: error: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: No such file or directory',
    ])
  })

  it('is reported with the words of psql when it refuses the user, and not with a warning', async () => {
    psql(`echo 'WARNING:  database "hydra" has a collation version mismatch' >&2
echo 'DETAIL:  The database was created using another version.' >&2
echo 'psql: error: FATAL:  Peer authentication failed for user "hydra"' >&2; exit 2`)
    expect(await about()).toEqual([
      'the database hydra cannot be queried: psql: error: FATAL: Peer authentication failed for user "hydra"',
    ])
  })

  it('is reported when its server accepts the connection and never answers', async () => {
    let connections = 0
    const silent = createSocketServer(() => {
      connections += 1
    })
    await new Promise<void>((resolve) => silent.listen(join(folder, '.s.PGSQL.5432'), resolve))
    vi.stubEnv('PGHOST', folder)
    shortTimeout()
    standIn('runuser', 'case $* in *psql*) shift 3; exec "$@" ;; *--status*) exit 1 ;; *) exit 0 ;; esac')
    try {
      expect(await about()).toEqual([
        'the database hydra cannot be queried: PostgreSQL did not answer within 60 s',
      ])
      // A second connection would wait again.
      expect(connections).toBe(1)
    } finally {
      vi.unstubAllEnvs()
      silent.close()
    }
  })

  it('is reported when it has no tables', async () => {
    psql(
      `case $* in *schemaversion*) echo 'ERROR:  relation "schemaversion" does not exist' >&2; exit 1 ;; esac; echo '|0'`,
    )
    expect(await about()).toEqual([
      'the queue runner does not answer',
      'the database hydra lacks the tables of Hydra',
      'the evaluator has no connection to the database',
    ])
  })

  it('does not count as down because its client has a warning', async () => {
    psql('echo "could not change directory" >&2; echo "84|1"')
    expect(await about()).toEqual(['the queue runner does not answer'])
  })
})

describe('a queue runner', () => {
  it('does not answer if its answer takes longer than the deadline, which `timeout` ends', async () => {
    const path = '/nix/store/00000000000000000000000000000000-hydra'
    const machine = new LocalShellHost({ bin: folder, moved: { [path]: folder } })
    mkdirSync(join(folder, 'bin'))
    standIn('bin/hydra-queue-runner', `echo '{"status":"up"}'`)
    standIn(
      'runuser',
      `case $* in *psql*) echo '84|1'; exit ;; esac; while [ "$1" != -- ]; do shift; done; shift; exec "$@"`,
    )
    const installed = { facts: { runner: 'goes-to-builders' }, environment: {}, databasePort: 5432 } as const
    const about = async () =>
      (await healthProblems(machine, settings({ package: path }), installed, taskRun())).filter((each) =>
        each.includes('queue runner'),
      )
    expect(await about()).toEqual([])
    standIn('timeout', 'exit 124')
    expect(await about()).toEqual(['the queue runner does not answer'])
  })
})

describe('a user of Hydra whom the Nix daemon shuts out', () => {
  const installed = { facts: { runner: 'goes-to-builders' }, environment: {}, databasePort: 5432 } as const
  const shutOut = async () =>
    (await healthProblems(host, settings({}), installed, taskRun())).filter((each) =>
      each.includes('Nix daemon'),
    )
  const asked = () => readFileSync(join(folder, 'asked'), 'utf8')
  /** Lets the daemon answer the greetings, and logs which users start Nix. */
  const greets = (lines: readonly string[], nix: string) => {
    standIn('perl', `cat <<'END'\n${lines.join('\n')}\nEND`)
    standIn('runuser', `case $* in *nix-store*) echo "$2" >> ${join(folder, 'asked')}; ${nix} ;; esac`)
    writeFileSync(join(folder, 'asked'), '')
  }
  const greeted = '6f69786400000000'

  it('is none when the daemon greets all of them, and Nix does not start', async () => {
    greets([`hydra ${greeted}`, `hydra-queue-runner ${greeted}`, `hydra-www ${greeted}`], 'exit 1')
    expect(await shutOut()).toEqual([])
    expect(asked()).toBe('')
  })

  it.each(['hydra-www -', 'hydra-www ?', 'hydra-www ', 'hydra-www 6f697864', 'hydra 6f69786400000000'])(
    'is judged by Nix itself after the answer "%s"',
    async (answer) => {
      greets([`hydra ${greeted}`, `hydra-queue-runner ${greeted}`, answer], 'exit 1')
      expect(await shutOut()).toEqual(['user hydra-www cannot use the Nix daemon'])
      expect(asked()).toBe('hydra-www\n')
      greets([`hydra ${greeted}`, `hydra-queue-runner ${greeted}`, answer], 'exit 0')
      expect(await shutOut()).toEqual([])
    },
  )

  it('is told from a user whom the daemon does not answer: Nix would wait for the same answer', async () => {
    greets([`hydra ${greeted}`, 'hydra-queue-runner !', 'hydra-www !'], 'exit 1')
    expect(await shutOut()).toEqual([
      'the Nix daemon does not answer user hydra-queue-runner',
      'the Nix daemon does not answer user hydra-www',
    ])
    expect(asked()).toBe('')
  })

  it('is told from a user whose nix-store does not end in time', async () => {
    greets([`hydra ${greeted}`, `hydra-queue-runner ${greeted}`, 'hydra-www -'], 'exit 124')
    expect(await shutOut()).toEqual([])
    const problems = await healthProblems(host, settings({}), installed, taskRun())
    expect(problems).toContain('nix-store of user hydra-www did not end within 60 s')
  })

  it('is judged by a nix-store that `timeout` ends', async () => {
    standIn('perl', 'exit 127')
    shortTimeout()
    standIn('nix-store', 'exec sleep 60')
    standIn('runuser', 'case $* in *nix-store*) shift 3; exec "$@" ;; *) exit 1 ;; esac')
    const problems = await healthProblems(host, settings({}), installed, taskRun())
    expect(problems.filter((each) => each.startsWith('nix-store'))).toHaveLength(3)
  })

  it('is found by Nix on a machine without Perl', async () => {
    greets([], 'exit 1')
    standIn('perl', 'exit 127')
    expect(await shutOut()).toHaveLength(3)
  })
})

describe('a service that was stopped for lack of room', () => {
  it('is told apart from a service that somebody stopped', async () => {
    standIn('runuser', 'exit 1')
    standIn('systemctl', 'echo inactive; exit 3')
    const installed = { facts: { runner: 'goes-to-builders' }, environment: {}, databasePort: 5432 } as const
    const about = async () =>
      (await healthProblems(host, settings({}), installed, taskRun())).filter((each) =>
        each.includes('was stopped'),
      )
    expect(await about()).toEqual([])
    writeFileSync(join(folder, 'hydra/.hydra-evaluator-stopped-disk-space'), '')
    expect(await about()).toEqual([
      'hydra-evaluator was stopped, because /nix/store has too little free space',
    ])
    standIn('systemctl', 'echo active')
    expect(await about()).toEqual([])
  })
})
