import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { freePort } from '../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { send } from './replay.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

const standIns = new StandIns()
const cache = join(standIns.nix.folder, 'cache')
const secret = join(standIns.nix.folder, 'secret')
const source = join(standIns.nix.folder, 'source')
const keyName = 'ci.example.org-1'
let postgres: PrivatePostgres | undefined
let env: Record<string, string> = {}
let port = 0
let server: Daemon
let cookie = ''

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra', 'nix-serve')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', keyName, secret, `${secret}.pub`])
  // The kernel chooses the metrics port, because other tests run at the same time.
  writeFileSync(
    join(standIns.data, 'hydra.conf'),
    `using_frontend_proxy = 1\ngc_roots_dir = ${standIns.data}/gcroots\nstore_uri = file://${cache}?secret-key=${secret}\nbinary_cache_secret_key_file = ${secret}\nqueue_runner_metrics_address = 127.0.0.1:0\n`,
  )
  env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  // The units have this PATH, because the evaluator calls hydra-eval-jobset by its name.
  env.PATH = `${standIns.bin('hydra')}:/usr/bin:/bin`
  port = await freePort()
  server = await startServer(port)
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

const answer = (path: string, method = 'GET', body?: string) =>
  send(port, {
    method,
    path,
    headers: {
      Accept: 'application/json',
      'Content-Type': 'application/json',
      Host: `127.0.0.1:${port}`,
      Origin: `http://127.0.0.1:${port}`,
      ...(cookie === '' ? {} : { Cookie: cookie }),
    },
    ...(body === undefined ? {} : { body }),
  })

async function startServer(at: number): Promise<Daemon> {
  return standIns.start(
    'hydra',
    ['hydra-server', '-f', '-h', '127.0.0.1', '-p', `${at}`, '--max_servers', '25'],
    env,
    async (daemon) => daemon.log.includes(`Accepting connections at http://127.0.0.1:${at}/`),
  )
}

const page = (path: string) => send(port, { method: 'GET', path, headers: { Accept: 'text/html' } })

const errorOf = async (path: string) =>
  z.object({ error: z.string() }).parse(JSON.parse((await answer(path)).body)).error

describe('hydra-server', () => {
  it('starts on a database without tables, and names on each page what is missing', async () => {
    expect(await errorOf('/')).toMatch(
      /^Hydra::Controller::Root::begin\(\): DBI Exception: DBD::Pg::db selectrow_array failed: ERROR: {2}relation "buildsteps" does not exist\nLINE 1: select count\(distinct build\) from buildsteps where busy != 0\n/,
    )
    expect(standIns.run('hydra', ['hydra-init'], env).status).toBe(0)
    expect((await answer('/')).status).toBe(200)
  })

  it('ends with status 0 when its port is taken', () => {
    const ended = standIns.run('hydra', ['hydra-server', '-h', '127.0.0.1', '-p', `${port}`], env)
    expect(ended).toMatchObject({ status: 0 })
    expect(ended.stderr).toContain(`Can't connect to TCP port ${port} on 127.0.0.1 [Address already in use]`)
  })

  it('does not start without its folder, nor with a folder in which it may not create its own', () => {
    const absent = standIns.run('hydra', ['hydra-server', '-p', '1'], { ...env, HYDRA_DATA: '/nonexistent' })
    expect(absent).toMatchObject({
      status: 2,
      stderr: 'The HYDRA_DATA directory (/nonexistent) does not exist!\n',
    })
    const closed = join(standIns.nix.folder, 'closed')
    mkdirSync(closed, { mode: 0o555 })
    const refused = standIns.run('hydra', ['hydra-server', '-p', '1'], { ...env, HYDRA_DATA: closed })
    expect(refused).toMatchObject({ status: 13, stderr: `mkdir ${closed}/www: Permission denied\n` })
  })

  it('shows hidden projects in grey on its start page, and keeps disabled ones out of sight', async () => {
    postgres?.sql(`insert into users (username, fullname, emailaddress, password) values ('owner', '', '', '!');
      insert into projects (name, displayname, owner, enabled, hidden) values
        ('shown', 'Shown <1>', 'owner', 1, 0), ('put-away', 'Put away', 'owner', 1, 1), ('off', 'Off', 'owner', 0, 1);`)
    const { body } = await page('/')
    const [, rows = ''] = /<tbody>(.*)<\/tbody>/s.exec(body) ?? []
    expect(
      rows
        .replaceAll(/http:\/\/[^/]*/g, '')
        .trim()
        .split('\n'),
    ).toEqual([
      '<tr class="project"><td><span class="hidden-project"><a href="/project/put-away">put-away</a></span></td><td>Put away</td><td></td></tr>',
      '<tr class="project"><td><span class=""><a href="/project/shown">shown</a></span></td><td>Shown &lt;1&gt;</td><td></td></tr>',
      '<tr class="project disabled-project"><td><span class="disabled-project hidden-project"><a href="/project/off">off</a></span></td><td>Off</td><td></td></tr>',
    ])
    expect(body).toContain('span.hidden-project a { color: gray; }')
    expect(body).toContain('tr.disabled-project { display: none; }')
    // The JSON interface lists all projects.
    const listed = z.array(z.object({ name: z.string() })).parse(JSON.parse((await answer('/')).body))
    expect(listed.map(({ name }) => name)).toEqual(['put-away', 'shown', 'off'])
    postgres?.sql(`delete from projects; delete from users`)
    expect((await page('/')).body).toContain('Hydra has no projects yet.')
  })

  it('stays up when the database refuses it, and recovers by itself', async () => {
    postgres?.admit(false)
    await server.until('the database refuses hydra', async () => (await answer('/')).status === 500)
    expect(await errorOf('/')).toContain('FATAL:  Peer authentication failed for user "hydra"')
    postgres?.admit(true)
    await server.until('the database admits hydra', async () => (await answer('/')).status === 200)
  })
})

describe('the way from a push to a signed path', () => {
  let runner: Daemon
  const buildsSchema = z.array(
    z.object({
      id: z.number(),
      job: z.string(),
      finished: z.number(),
      buildstatus: z.number().nullable(),
      buildoutputs: z.object({ out: z.object({ path: z.string() }) }),
    }),
  )
  const builds = async () => buildsSchema.parse(JSON.parse((await answer('/eval/1/builds')).body))

  const hello = async () => {
    const found = (await builds()).find(({ job }) => job === 'hello')
    if (found === undefined) throw new Error('there is no build of hello')
    return {
      id: found.id,
      path: found.buildoutputs.out.path,
      hash: found.buildoutputs.out.path.slice(11, 43),
    }
  }

  it('begins with a queue runner that creates the cache before any build', async () => {
    runner = await standIns.start('hydra', ['hydra-queue-runner', '-v'], env, async (daemon) =>
      daemon.log.includes('checking the queue for builds > 0...'),
    )
    expect(readFileSync(join(cache, 'nix-cache-info'), 'utf8')).toBe('StoreDir: /nix/store\n')
    expect(readdirSync(cache).sort()).toEqual(['log', 'nar', 'nix-cache-info', 'realisations'])
    await runner.until('the status is up', async () =>
      (await answer('/queue-runner-status')).body.includes('"up"'),
    )
  })

  it('has only one queue runner', () => {
    const warning =
      'hydra.conf: binary_cache_secret_key_file is deprecated and ignored. use store_uri=...?secret-key= instead'
    expect(standIns.run('hydra', ['hydra-queue-runner'], env)).toMatchObject({
      status: 1,
      stderr: `${warning}\nerror: hydra-queue-runner is already running\n`,
    })
    expect(standIns.run('hydra', ['hydra-queue-runner', '--unlock'], env)).toMatchObject({
      status: 1,
      stderr: `${warning}\nerror: hydra-queue-runner is currently running\n`,
    })
  })

  it('evaluates, builds and copies a pushed jobset, and reports its errors by job', async () => {
    const evaluator = await standIns.start('hydra', ['hydra-evaluator'], env, async () => true)
    await standIns.start('hydra', ['hydra-notify'], env, async (daemon) =>
      daemon.log.includes('Not starting'),
    )
    mkdirSync(source)
    writeFileSync(join(source, 'release.nix'), jobs)
    const password = 'foobar\n'
    const user = ['hydra-create-user', 'alice', '--role', 'admin', '--password-prompt']
    expect(standIns.run('hydra', user, env, password + password)).toMatchObject({ status: 0 })
    const login = await answer(
      '/login',
      'POST',
      JSON.stringify({ username: 'alice', password: password.trim() }),
    )
    expect(login.status).toBe(302)
    cookie = (login.headers['set-cookie']?.[0] ?? '').split(';')[0] ?? ''
    const project = { displayname: 'Probe', enabled: 1 }
    expect((await answer('/project/hydra-ops-probe', 'PUT', JSON.stringify(project))).status).toBe(201)
    const inputs = { src: { type: 'path', value: source } }
    const jobset = { nixexprinput: 'src', nixexprpath: 'release.nix', enabled: 1, checkinterval: 0, inputs }
    expect((await answer('/jobset/hydra-ops-probe/trivial', 'PUT', JSON.stringify(jobset))).status).toBe(201)
    expect(JSON.parse((await answer('/api/push?jobsets=hydra-ops-probe:trivial', 'POST')).body)).toEqual({
      jobsetsTriggered: ['hydra-ops-probe:trivial'],
    })
    await evaluator.until('the jobset is evaluated', () => evaluator.log.includes('’ succeeded'))
    await evaluator.says('(hydra-ops-probe:trivial) Fetching input `src` (path)')
    await evaluator.says('  created new eval 1')
    await runner.until('both builds are finished', async () =>
      (await builds()).every(({ finished }) => finished === 1),
    )
    const found = (await builds()).map(({ job, buildstatus }) => [job, buildstatus])
    expect(Object.fromEntries(found)).toEqual({ hello: 0, broken: 1, needs: 2, alien: 9 })
    const errors = JSON.parse((await answer('/jobset/hydra-ops-probe/trivial/errors')).body)
    expect(z.object({ errormsg: z.string() }).parse(errors).errormsg).toMatch(
      /^in job ‘forbidden’:\n[\s\S]*access to absolute path '\/etc\/hostname' is forbidden in restricted mode/,
    )
  })

  it('ends with the same signature from the static cache, hydra-server and nix-serve, accepted by Nix', async () => {
    const { path, hash } = await hello()
    const servePort = await freePort()
    await standIns.start(
      'nix-serve',
      ['nix-serve', '--listen', `127.0.0.1:${servePort}`, '--workers', '2'],
      { ...env, NIX_SECRET_KEY_FILE: secret },
      async (daemon) => daemon.log.includes('Binding to TCP port'),
    )
    const live = await send(servePort, { method: 'GET', path: `/${hash}.narinfo`, headers: {} })
    const texts = [
      readFileSync(join(cache, `${hash}.narinfo`), 'utf8'),
      (await answer(`/${hash}.narinfo`)).body,
      live.body,
    ]
    const signatures = texts.map((text) => /^Sig: (.*)$/m.exec(text)?.[1] ?? 'none')
    expect(new Set(signatures).size).toBe(1)
    expect(signatures[0]).toMatch(new RegExp(`^${keyName}:[A-Za-z0-9+/]{86}==$`))
    for (const uri of [`file://${cache}`, `http://127.0.0.1:${port}`]) {
      await substitute(path, uri, readFileSync(`${secret}.pub`, 'utf8'))
      await expect(substitute(path, uri, `other-1:${'A'.repeat(43)}=`)).rejects.toThrow()
    }
  })

  it('keeps the output of the builder, and hydra-notify compresses it', async () => {
    const name = (await answer(`/build/${(await hello()).id}/log/raw`)).location.split('/').pop() ?? ''
    const log = join(standIns.data, 'build-logs', name.slice(0, 2), name.slice(2))
    // The log is removed once its compressed copy is complete.
    await runner.until('the log is compressed', () => existsSync(`${log}.bz2`) && !existsSync(log))
    expect((await answer(`/log/${name}`)).status).toBe(200)
  })

  it('evaluates the same inputs once, unless the evaluation is forced', async () => {
    const counted = async () => postgres?.sql('select count(*) from jobsetevals').trim()
    const checked = async () => postgres?.sql('select lastcheckedtime, triggertime from jobsets').trim()
    for (const [force, evals] of [
      ['', '1'],
      ['&force=1', '2'],
    ] as const) {
      await runner.until(
        'a second has passed',
        async () => Number((await checked())?.split('|')[0]) < Math.floor(Date.now() / 1000),
      )
      const before = await checked()
      await answer(`/api/push?jobsets=hydra-ops-probe:trivial${force}`, 'POST')
      await runner.until('the jobset is looked at again', async () => {
        const now = await checked()
        return now !== before && now?.endsWith('|') === true
      })
      expect(await counted()).toBe(evals)
    }
  })

  it('stops at a queue runner that cannot read its key, and the status says that none runs', async () => {
    await runner.stop()
    expect((await answer('/queue-runner-status')).body).toBe('{"status": "down"}')
    chmodSync(secret, 0o000)
    const ended = standIns.run('hydra', ['hydra-queue-runner', '-v'], env)
    expect(ended.status).toBe(1)
    expect(ended.stderr).toContain(`error: opening file '${secret}': Permission denied`)
    expect(await errorOf(`/${(await hello()).hash}.narinfo`)).toBe(
      `cannot open file '${secret}': Permission denied\n`,
    )
    chmodSync(secret, 0o600)
  })
})

describe('a daemon that refuses the queue runner', () => {
  const socket = join(standIns.nix.folder, 'socket')
  const queued = async () => {
    const id = postgres
      ?.sql("update builds set finished = 0 where job = 'hello' returning id")
      .trim()
      .split('\n')[0]
    return {
      id,
      unfinished: async () => postgres?.sql(`select finished from builds where id = ${id}`).trim(),
    }
  }
  const withDaemon = () => ({ ...env, NIX_REMOTE: 'daemon', NIX_DAEMON_SOCKET_PATH: socket })
  const says = (text: string) => async (daemon: Daemon) => daemon.log.includes(text)

  it('leaves the build queued without a socket, and the log gives the reason', async () => {
    const build = await queued()
    const runner = await standIns.start(
      'hydra',
      ['hydra-queue-runner', '-v'],
      withDaemon(),
      says(`queue monitor: error: cannot connect to socket at '${socket}': No such file or directory`),
    )
    expect(await build.unfinished()).toBe('0')
    await runner.stop()
  })

  it('lets an evaluation succeed without a socket, and its jobset has the error', () => {
    const ended = standIns.run('hydra', ['hydra-eval-jobset', 'hydra-ops-probe', 'trivial'], withDaemon())
    expect(ended.status).toBe(0)
    expect(postgres?.sql('select errormsg from jobsets')).toContain('cannot connect to socket at')
  })

  it('has each build tried again later without trust, as if the machine had failed', async () => {
    const build = await queued()
    const daemon = spawn('nix-daemon', ['--option', 'trusted-users', 'root'], {
      env: { ...env, NIX_DAEMON_SOCKET_PATH: socket },
      stdio: 'ignore',
    })
    try {
      await server.until('the daemon listens', () => existsSync(socket))
      const runner = await standIns.start(
        'hydra',
        ['hydra-queue-runner', '-v'],
        withDaemon(),
        says('will retry'),
      )
      await runner.says(
        /will disable machine ‘localhost’ for \d+s\npossibly transient failure building ‘.*-hello\.drv’ on ‘localhost’: error: unexpected end-of-file\nwill retry ‘.*-hello\.drv’ after \d+s/,
      )
      expect(await build.unfinished()).toBe('0')
      await runner.stop()
    } finally {
      daemon.kill('SIGTERM')
    }
  })
})

/** Copies a path into another store, which trusts only this key. */
async function substitute(path: string, from: string, publicKey: string): Promise<void> {
  const to = join(standIns.nix.folder, `other-${Math.random().toString(36).slice(2)}`)
  const options = ['--option', 'substituters', from, '--option', 'trusted-public-keys', publicKey.trim()]
  await standIns.nix.nix('nix-store', ['--store', to, '--realise', path, ...options])
}

const jobs = `{ src }:
let
  job = attributes: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attributes);
in
rec {
  hello = job { name = "hello"; args = [ "-c" "echo built; echo hello > $out" ]; };
  broken = job { name = "broken"; args = [ "-c" "echo boom; exit 1" ]; };
  needs = job { name = "needs"; args = [ "-c" "cat \${broken} > $out" ]; };
  alien = job { name = "alien"; system = "mips64-plan9"; args = [ ]; };
  forbidden = job { name = "forbidden"; text = builtins.readFile /etc/hostname; };
}
`
