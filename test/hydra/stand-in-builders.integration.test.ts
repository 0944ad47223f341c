import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { ScratchNix } from '../fakes/scratch-nix.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { type Daemon, StandIns } from './stand-in-packages.js'

/**
 * The stand-in for the C++ queue runner, with a builder. A program that replaces ssh starts the real `nix-store
 * --serve` on a second store, or prints the test's text.
 */
const standIns = new StandIns()
const builder = new ScratchNix()
const cache = join(standIns.nix.folder, 'cache')
const secret = join(standIns.nix.folder, 'secret')
const source = join(standIns.nix.folder, 'source')
const machines = join(standIns.nix.folder, 'machines')
const programs = join(standIns.nix.folder, 'programs')
const refusal = join(standIns.nix.folder, 'refusal')
const asked = join(standIns.nix.folder, 'asked')
let postgres: PrivatePostgres | undefined
let env: Record<string, string> = {}
let runner: Daemon

const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ'
const b1 = (jobs = 4, key = Buffer.from(`${hostKey}\n`).toString('base64')) =>
  `nix-builder@b1 x86_64-linux /etc/hydra/key ${jobs} 2 big-parallel - ${key}\n`
const localhost = 'localhost x86_64-linux,builtin - 2 1 nixos-test - -\n'

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', secret, `${secret}.pub`])
  mkdirSync(programs)
  writeFileSync(
    join(programs, 'ssh'),
    `#!/bin/sh
echo "$*" >> ${asked}
[ ! -e ${refusal} ] || exec sh ${refusal}
while [ "$1" != -- ]; do shift; done
shift
NIX_REMOTE=${builder.env.NIX_REMOTE} exec "$@"
`,
    { mode: 0o755 },
  )
  writeFileSync(
    join(standIns.data, 'hydra.conf'),
    `gc_roots_dir = ${standIns.data}/gcroots
store_uri = file://${cache}?secret-key=${secret}
queue_runner_metrics_address = 127.0.0.1:0
`,
  )
  writeFileSync(machines, localhost + b1())
  env = await standIns.env({
    ...postgres.env,
    HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;',
    NIX_REMOTE_SYSTEMS: machines,
    PATH: `${programs}:/usr/bin:/bin`,
  })
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  mkdirSync(source)
  postgres.sql(`insert into users (username, emailaddress, password) values ('alice', '', '!');
    insert into projects (name, displayname, owner) values ('p', 'P', 'alice');
    insert into jobsets (project, name, emailoverride, nixexprinput, nixexprpath) values ('p', 'j', '', 'src', 'release.nix');
    insert into jobsetinputs (project, jobset, name, type) values ('p', 'j', 'src', 'path');
    insert into jobsetinputalts (project, jobset, input, altnr, value) values ('p', 'j', 'src', 0, '${source}');`)
  runner = await startRunner()
})

afterAll(async () => {
  await standIns.dispose()
  builder.dispose()
  postgres?.stop()
})

const startRunner = () =>
  standIns.start('hydra', ['hydra-queue-runner', '-v'], env, async ({ log }) =>
    log.includes('checking the queue'),
  )

/** Replaces the list of machines in one step: a queue runner that reads a partial list aborts builds. */
function list(text: string): void {
  writeFileSync(`${machines}.new`, text)
  renameSync(`${machines}.new`, machines)
}

/** Evaluates these jobs. The stamp changes each derivation, so that no result of an earlier test is used. */
function evaluate(stamp: string, jobs: string): void {
  writeFileSync(
    join(source, 'release.nix'),
    `let job = name: script: more: derivation ({
      inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ]; stamp = "${stamp}";
    } // more); in ${jobs}`,
  )
  // The stand-in, like the real program, reads a folder again only after half a minute.
  postgres?.sql('update cachedpathinputs set lastseen = 0')
  const ended = standIns.run('hydra', ['hydra-eval-jobset', 'p', 'j'], env)
  expect(ended, ended.stderr).toMatchObject({ status: 0 })
}

const statusOf = (job: string) =>
  postgres?.sql(`select buildstatus from builds where job = '${job}' order by id desc limit 1`).trim()
const outputOf = (job: string) =>
  postgres
    ?.sql(`select o.path from builds b join buildoutputs o on o.build = b.id where job = '${job}'
    order by b.id desc limit 1`)
    .trim() ?? ''
const finished = (job: string) => runner.until(`${job} is finished`, () => /^\d+$/.test(statusOf(job) ?? ''))

const Status = z.looseObject({
  machines: z.record(z.string(), z.looseObject({ nrStepsDone: z.number(), currentJobs: z.number() })),
})
const told = () =>
  Status.parse(JSON.parse(standIns.run('hydra', ['hydra-queue-runner', '--status'], env).stdout)).machines

it('a build goes to the faster builder, each step in a login of its own, and its results go to the cache alone', async () => {
  evaluate(
    'first',
    `{ web = job "web" "read line < $part; echo $line > $out" { part = job "part" "echo part > $out" {
        none = job "none" "" { system = "builtin"; builder = "builtin:buildenv"; derivations = ""; manifest = "/dev/null"; }; }; }; }`,
  )
  await finished('web')
  expect(statusOf('web')).toBe('0')
  await runner.says(/^performing step ‘.*-none\.drv’ 1 times on ‘nix-builder@b1’ \(needed by build/m)
  await runner.says(/^performing step ‘.*-part\.drv’ 1 times on ‘nix-builder@b1’ \(needed by build/m)
  await runner.says(/^performing step ‘.*-web\.drv’ 1 times on ‘nix-builder@b1’/m)
  expect(postgres?.sql('select distinct machine from buildsteps').trim()).toBe('nix-builder@b1')
  // The queue runner counts the steps of a build after the database has its result.
  await runner.until('the steps are counted', () => told()['nix-builder@b1']?.nrStepsDone === 3)
  expect(told()).toMatchObject({ 'nix-builder@b1': { nrStepsDone: 3 }, localhost: { nrStepsDone: 0 } })
  const web = outputOf('web')
  expect(builder.has(web)).toBe(true)
  expect(standIns.nix.has(web)).toBe(false)
  const client = new ScratchNix()
  try {
    await client.nix('nix-store', [
      ...['--realise', web, '--option', 'substituters', `file://${cache}`],
      ...['--option', 'trusted-public-keys', readFileSync(`${secret}.pub`, 'utf8')],
    ])
    expect(client.has(web)).toBe(true)
  } finally {
    client.dispose()
  }
})

it('a step that only this machine can do is done here, with the results of the builder, and for the builder', async () => {
  evaluate(
    'both',
    `{ top = job "top" "read line < $mid; echo $line > $out" { mid = job "mid" "read line < $base; echo $line > $out" {
        requiredSystemFeatures = [ "nixos-test" ]; base = job "base" "echo base > $out" { }; }; }; }`,
  )
  await finished('top')
  expect(statusOf('top')).toBe('0')
  // The database may have the result before this process has read the line.
  await runner.says(/^performing step ‘.*-top\.drv’ 1 times on ‘.*’ /m)
  const places = ['base', 'mid', 'top'].map(
    (name) => new RegExp(`^performing step ‘.*-${name}\\.drv’ 1 times on ‘(.*)’ `, 'm').exec(runner.log)?.[1],
  )
  expect(places).toEqual(['nix-builder@b1', 'localhost', 'nix-builder@b1'])
})

it('the login has the options of the real program, with the pinned host key', () => {
  const [line] = readFileSync(asked, 'utf8').split('\n')
  expect(line).toMatch(
    /^nix-builder@b1 -i \/etc\/hydra\/key -oUserKnownHostsFile=\S+ -x -a -oBatchMode=yes -oConnectTimeout=60 -oTCPKeepAlive=yes -- nix-store --serve --write$/,
  )
})

it('an aggregate of names is built after its constituents, and fails with them', async () => {
  const release = (names: string) =>
    `release = job "release" ": > $out" { _hydraAggregate = true; constituents = [ ${names} ]; };`
  evaluate('green', `{ a = job "a" "echo a > $out" { }; ${release('"a"')} }`)
  await finished('release')
  expect([statusOf('a'), statusOf('release')]).toEqual(['0', '0'])
  evaluate('red', `{ a = job "a" "exit 1" { }; ${release('"a"')} }`)
  await finished('release')
  expect([statusOf('a'), statusOf('release')]).toEqual(['1', '2'])
})

it('a missing name among the constituents ends the evaluation with the words of the real program', () => {
  writeFileSync(
    join(source, 'release.nix'),
    `{ x = derivation { name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; _hydraAggregate = true;
      constituents = [ "absent" ]; }; }`,
  )
  postgres?.sql('update cachedpathinputs set lastseen = 0')
  const before = postgres?.sql('select count(*) from jobsetevals').trim()
  expect(standIns.run('hydra', ['hydra-eval-jobset', 'p', 'j'], env).stderr).toContain(
    'aggregate job ‘x’ failed with the error: absent: does not exist',
  )
  expect(postgres?.sql('select count(*) from jobsetevals').trim()).toBe(before)
})

it('a builder with no jobs gets none, and no build is aborted meanwhile', async () => {
  list(b1(0))
  evaluate('drained', '{ later = job "later" "echo later > $out" { }; }')
  await runner.until('the build was looked at', () => /loading build \d+ \(p:j:later\)/.test(runner.log))
  expect(statusOf('later')).toBe('')
  list(b1())
  await finished('later')
  expect(statusOf('later')).toBe('0')
})

it.each([
  [
    'a refused login',
    'echo "nix-builder@b1: Permission denied (publickey)." >&2; exit 255',
    'cannot connect to ‘nix-builder@b1’: nix-builder@b1: Permission denied (publickey).',
  ],
  [
    'a login shell that prints',
    'printf "Welcome to b1, the builder of builders\\n"; cat > /dev/null',
    "serialised integer 2334392307038315863 is too large for type 'j'",
  ],
  [
    'a missing Nix',
    'echo "sh: 1: nix-store: not found" >&2; exit 127',
    'cannot connect to ‘nix-builder@b1’: sh: 1: nix-store: not found',
  ],
  [
    'a builder that dies during the build',
    // The first child of the serving process is the build.
    `exec 3<&0
NIX_REMOTE=${builder.env.NIX_REMOTE} nix-store --serve --write <&3 &
until pgrep -P $! > /dev/null; do kill -0 $! || exit; sleep 0.05; done
kill -9 $!`,
    'unexpected end-of-file',
  ],
])('%s costs time, in the words of the real program, and fails no build', async (name, script, words) => {
  await runner.stop()
  writeFileSync(machines, b1())
  runner = await startRunner()
  writeFileSync(refusal, script)
  const build = 'i=0; while [ $i -lt 500000 ]; do i=$((i + 1)); done; echo tried > $out'
  evaluate(name, `{ tried = job "tried" "${build}" { }; }`)
  const line = /^possibly transient failure building ‘.*-tried\.drv’ on ‘nix-builder@b1’: error: (.*)$/m
  await runner.until('the failure is reported', () => line.test(runner.log))
  expect(line.exec(runner.log)?.[1]).toBe(words)
  await runner.says(/^will disable machine ‘nix-builder@b1’ for 60s$/m)
  expect(statusOf('tried')).toBe('')
  rmSync(refusal)
  await runner.stop()
  runner = await startRunner()
  await finished('tried')
  expect(statusOf('tried')).toBe('0')
})

it('a list with a bad host key leaves no machine at the start, and every build is aborted', async () => {
  await runner.stop()
  writeFileSync(machines, localhost + b1(4, '!'))
  evaluate('bad list', '{ lost = job "lost" "echo lost > $out" { }; }')
  runner = await startRunner()
  await finished('lost')
  expect(statusOf('lost')).toBe('9')
  // The database may have the result before this process has read the line.
  const line = /^aborting unsupported build step '.*-lost\.drv' \(type 'x86_64-linux'\)$/m
  await runner.until('the abort is reported', () => line.test(runner.log))
})
