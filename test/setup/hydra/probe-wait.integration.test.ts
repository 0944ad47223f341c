import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hydraProofTask, type ProofPace, proveByBuild } from '../../../src/setup/hydra/proof-task.js'
import { FakeHydraWeb } from '../../fakes/fake-hydra-web.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'

/** The root of a Hydra with a fake web interface, whose journal gets another part at each look. */
let root: string
let web: FakeHydraWeb
let port = 0
let host: LocalShellHost
let run: ReturnType<typeof taskRun>

const program = (name: string, body: string) =>
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'ho-proof-'))
  for (const folder of ['bin', 'journal', 'hydra']) mkdirSync(join(root, folder))
  web = new FakeHydraWeb()
  web.users.set('alice', { password: 'secret', roles: ['admin'] })
  port = await web.listen()
  program('nix-instantiate', 'echo \'"x86_64-linux"\'')
  // Each look takes the next file; a look without a cursor requests the whole text. PROOF is the name of the proof's
  // derivation in the expression on the machine.
  program(
    'journalctl',
    `cd '${root}/journal'
proof=hydra-ops-probe-$(ls '${root}/hydra/hydra-ops-probe')
case $* in
  *--show-cursor*) next=$(ls | grep '^[0-9]' | head -n 1); [ -n "$next" ] || exit 1 # as journalctl 252 ends without a new line
    sed "s/PROOF/$proof/g" "$next" | tee -a all; mv "$next" "seen-$next"
    echo "-- cursor: s=$next" ;;
  *) cat all ;;
esac`,
  )
  host = new LocalShellHost({
    bin: join(root, 'bin'),
    moved: { '/var/lib/hydra': join(root, 'hydra') },
    asRoot: true,
  })
  run = taskRun({ 'hydra-user-alice': 'secret' })
})
afterEach(async () => {
  await web.close()
  rmSync(root, { recursive: true, force: true })
})

function journal(...looks: readonly string[]): void {
  writeFileSync(join(root, 'journal/all'), '')
  for (const [index, text] of looks.entries())
    writeFileSync(join(root, 'journal', `${index}`), text === '' ? '' : `${text}\n`)
}

const drv = (name: string) => `/nix/store/5lih21w7vkc0j5mmacmmaax4h3k0j9fr-${name}.drv`
const transient = (name: string, machine: string, why = 'error: unexpected end-of-file') =>
  `possibly transient failure building ‘${drv(name)}’ on ‘${machine}’: ${why}\nwill retry ‘${drv(name)}’ after 61s`
const step = (name: string, machine: string) =>
  `performing step ‘${drv(name)}’ 1 times on ‘${machine}’ (needed by build 7 and 0 others)`
const notTrusted = transient('PROOF', 'localhost')
const noDatabase =
  'connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: No such file or directory'

/** A pace with a look in each turn, and without a timeout during a test. */
const pace: ProofPace = { greenMs: 3_600_000, signedMs: 1, pauseMs: 1, everyMs: 0, apartMs: 0 }

function wantedProof() {
  const wanted = hydraProofTask.wanted(
    taskMachine({
      hydra: {
        enable: true,
        url: `http://127.0.0.1:${port}`,
        admin: { userName: 'alice', roles: ['admin'], password: { generate: true } },
      },
    }),
  )
  if (wanted === undefined) throw new Error('no proof is wanted')
  return { ...wanted, entrance: { ...wanted.entrance, port }, publicKeyFile: undefined }
}

const prove = (patience: ProofPace = pace) => proveByBuild(host, wantedProof(), run, patience)

/** Turns the build green once the journal has been read to its end. */
async function greenAfterwards(): Promise<void> {
  await endsAfterwards({ buildstatus: 0 })
}

async function endsAfterwards(end: { readonly buildstatus: number }, path = '/nix/store/y'): Promise<void> {
  await vi.waitFor(
    () => expect(host.seen.filter(({ argv }) => argv.includes('--show-cursor')).length).toBeGreaterThan(4),
    {
      timeout: 30_000,
    },
  )
  const nixname = /hydra-ops-probe-\w+/.exec(run.lines.join('\n'))?.[0]
  const build = {
    id: 7,
    nixname,
    finished: 1,
    ...end,
    buildoutputs: { out: { path } },
  }
  web.pages.set('/build/7', build)
  web.pages.set('/jobset/hydra-ops-probe/probe/evals', { evals: [{ id: 3, builds: [7] }] })
}

describe('the wait for the build that proves Hydra', () => {
  it('ends once the journal names the same cause again', async () => {
    journal('checking the queue for builds > 0...', notTrusted, '', notTrusted)
    await expect(prove()).rejects.toMatchObject({
      code: 'PROBE',
      message: expect.stringMatching(
        /not green \(not evaluated yet\): the Nix daemon does not trust the queue runner/,
      ),
      detail: expect.stringContaining('unexpected end-of-file'),
    })
  })

  it('names the lasting cause, also when the journal has another cause', async () => {
    journal(notTrusted, noDatabase, noDatabase)
    await expect(prove()).rejects.toThrow('a service cannot log in to the database')
  })

  it.each<[string, readonly string[], ProofPace]>([
    ['was over at the next try', [notTrusted, '', 'finished'], pace],
    ['is another one each time', [notTrusted, noDatabase, ''], pace],
    ['was told twice of one failure', [notTrusted, notTrusted, ''], { ...pace, apartMs: 3_600_000 }],
  ])('goes on when the cause %s', async (_, looks, patience) => {
    journal(...looks)
    await Promise.all([prove(patience), greenAfterwards()])
    expect(run.lines).toContain('proof: green: /nix/store/y')
  })

  it.each<[string, readonly string[]]>([
    ['fails on a flaky builder', [transient('other', 'b1'), '', transient('other', 'b1')]],
    ['fails on the machine itself', [transient('other', 'localhost'), transient('other', 'localhost'), '']],
    [
      'fails with words of several lines',
      Array(3).fill(`${transient('other', 'b1', 'error: cannot build\nwrite: No space left on device')}`),
    ],
    [
      'ends for good with words of several lines',
      Array(3).fill(
        `possibly transient failure building ‘${drv('other')}’ on ‘b1’:\nNo space left on device\nmarking build 4 as failed`,
      ),
    ],
    [
      'is the proof of an earlier deploy',
      Array(3).fill(transient('hydra-ops-probe-20200101T000000000Z', 'localhost')),
    ],
    [
      'is copied in vain to the cache',
      Array(3).fill('nix copy to file:///srv/cache failed: error: opening file: Permission denied'),
    ],
    [
      'is of a jobset that cannot be evaluated',
      Array(3).fill(
        "evaluation of jobset ‘shop:main (jobset#3)’ failed: No space left on device\n(shop:main) cannot connect to socket at '/nix/var/nix/daemon-socket/socket'",
      ),
    ],
  ])('goes on when another build %s', async (_, looks) => {
    journal(...looks)
    await Promise.all([prove(), greenAfterwards()])
    expect(run.lines).toContain('proof: green: /nix/store/y')
  })

  it('goes on while the step of the proof runs again, whatever failed before', async () => {
    journal(notTrusted, `${notTrusted}\n${step('PROOF', 'localhost')}`, noDatabase, noDatabase)
    await Promise.all([prove(), greenAfterwards()])
    expect(run.lines).toContain('proof: green: /nix/store/y')
  })

  it.each<[string, readonly string[], RegExp]>([
    [
      'its step failed again after it ran',
      [`${step('PROOF', 'localhost')}\n${notTrusted}`, `${step('PROOF', 'localhost')}\n${notTrusted}`],
      /the Nix daemon does not trust the queue runner/,
    ],
    [
      'a builder drops it each time, and not the daemon of the machine is blamed',
      [transient('PROOF', 'nix-builder@b1'), transient('PROOF', 'nix-builder@b1')],
      /a builder closes the connection/,
    ],
    [
      'its words come on a line of their own',
      Array(2).fill(transient('PROOF', 'localhost', '\nNo space left on device')),
      /no disk space left/,
    ],
    [
      'another build fails in between',
      [`${transient('other', 'b1')}\n${noDatabase}`, `${transient('other', 'b1')}\n${noDatabase}`],
      /log in to the database/,
    ],
  ])('ends when %s', async (_, looks, why) => {
    journal(...looks)
    await expect(prove()).rejects.toThrow(why)
  })

  it('does not blame the words of another build for a proof that failed itself', async () => {
    journal(transient('other', 'b1'))
    const [proof] = await Promise.allSettled([prove(), endsAfterwards({ buildstatus: 1 })])
    expect(proof).toMatchObject({
      status: 'rejected',
      reason: { message: expect.stringMatching(/not green \(ended\): the build itself failed$/) },
    })
  })

  it.each<[string, string, number, RegExp]>([
    [
      'fails',
      'echo "No journal files were found." >&2; exit 1',
      60_000,
      /^the journal cannot be read: machine 'local': cannot read the journal: the command ended with status 1$/,
    ],
    [
      'was killed',
      'kill -9 $$',
      60_000,
      /^the journal cannot be read: machine 'local': cannot read the journal: the command was killed by SIGKILL$/,
    ],
    [
      'does not end',
      'exec sleep 600',
      200,
      /^the journal cannot be read: read the journal: did not end within 0\.2 s$/,
    ],
  ])('goes on, with one line in the log, when journalctl %s', async (_, body, timeoutMs, said) => {
    program('journalctl', body)
    const exec = host.exec.bind(host)
    vi.spyOn(host, 'exec').mockImplementation((argv, options) =>
      exec(argv, argv[0] === 'journalctl' ? { ...options, timeoutMs } : options),
    )
    await Promise.all([prove(), greenAfterwards()])
    expect(run.lines).toContain('proof: green: /nix/store/y')
    expect(run.lines.filter((line) => line.startsWith('the journal'))).toEqual([expect.stringMatching(said)])
  })

  it('reports why the build failed also when the journal cannot be read', async () => {
    program('journalctl', 'exit 1')
    const [proof] = await Promise.allSettled([prove(), endsAfterwards({ buildstatus: 1 })])
    expect(proof).toMatchObject({
      status: 'rejected',
      reason: {
        message: expect.stringMatching(/not green \(ended\): the build itself failed$/),
        detail:
          "the journal cannot be read: machine 'local': cannot read the journal: the command ended with status 1",
      },
    })
  })

  it('does not mistake a machine without a clock for a machine with a silent journal', async () => {
    program('date', 'exit 1')
    await expect(prove()).rejects.toThrow(
      "machine 'local': the clock cannot be read, because date printed no number",
    )
  })
})

describe('the wait for the signed path in the cache', () => {
  it('ends with the answer of the cache, and the cause from the journal is in the evidence', async () => {
    const notCopied = 'nix copy to file:///srv/cache failed: error: opening file: no such folder'
    journal(notCopied)
    const publicKeyFile = join(root, 'public')
    writeFileSync(publicKeyFile, 'ci-1:key\n')
    const path = `/nix/store/${'0'.repeat(32)}-proof`
    const [proof] = await Promise.allSettled([
      proveByBuild(host, { ...wantedProof(), publicKeyFile }, run, pace),
      endsAfterwards({ buildstatus: 0 }, path),
    ])
    expect(proof).toMatchObject({
      status: 'rejected',
      reason: {
        code: 'PROBE',
        message: expect.stringMatching(
          /until the cache at http:\S+ serves the signed proof: \/0{32}\.narinfo answers with status 404/,
        ),
        detail: `the queue runner could not copy the built paths to the cache\n${notCopied}`,
      },
    })
  })
})

describe('the project of the proof', () => {
  const project = '/project/hydra-ops-probe'
  const sent = () => web.bodies.filter((body) => body.includes('identifier')).map((body) => JSON.parse(body))

  it('is enabled for the build, and disabled by leaving out the key afterwards', async () => {
    journal()
    await Promise.all([prove(), greenAfterwards()])
    expect(sent().map((body) => ['enabled' in body, 'visible' in body])).toEqual([
      [true, false],
      [false, false],
    ])
    expect(web.jobsets.get(project)).not.toHaveProperty('enabled')
    expect(web.jobsets.get('/jobset/hydra-ops-probe/probe')).toMatchObject({ enabled: 0 })
  })

  it('is also disabled when the build does not turn green', async () => {
    journal(notTrusted, notTrusted)
    await expect(prove()).rejects.toThrow('does not trust')
    expect(web.jobsets.get(project)).not.toHaveProperty('enabled')
  })

  it('is reported when it could not be disabled, and the proof holds', async () => {
    journal()
    await Promise.all([
      prove(),
      greenAfterwards().then(() => {
        web.users.clear()
      }),
    ])
    expect(run.lines.at(-1)).toMatch(
      /^proof: project hydra-ops-probe stays on Hydra's start page until the next proof, because hiding it failed: .*sign in/,
    )
  })

  it('makes the proof due again when an earlier proof left it enabled', async () => {
    const answers = (green: string, enabled: string) =>
      program(
        'runuser',
        `case $* in *'from builds'*'enabled from projects'*) echo ${green}'|'${enabled} ;; *) echo 1 ;; esac`,
      )
    program('pg_lsclusters', 'echo 15 main 5432 online postgres /nowhere /nowhere')
    const probe = () => hydraProofTask.probe(host, wantedProof(), run)
    answers('1', '1')
    expect(await probe()).toEqual({ drifted: "project hydra-ops-probe is on Hydra's start page" })
    answers('1', '0')
    expect(await probe()).toBe('done')
    answers("''", '1')
    expect(await probe()).toBe('needed')
  })
})
