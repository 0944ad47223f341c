import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withSetUpLock } from '../../src/tasks/machine-lock.js'
import { type ServedHydra, serveHydra } from '../fakes/served-hydra.js'
import { deployed, endServers, evaluation, listen, now } from './jobset.js'
import { Builds, UpdatedMachine } from './updated-machine.js'

const builds = new Builds()
const run = { signal: new AbortController().signal, log: () => {} }
/**
 * Check with a single attempt. The attempt has enough time on a busy host, because its timeout equals the
 * total.
 */
const isGood = {
  cmd: [{ cmd: ['grep', '-q', 'good', '/etc/version'], period: 60, timeout: 60, total: 60 }],
}

let machine: UpdatedMachine
let hydra: ServedHydra
let old: string
let better: string
let best: string
let bad: string

beforeAll(async () => {
  await builds.start()
  old = await builds.publish(await builds.build({ version: 'good old' }))
  better = await builds.publish(await builds.build({ version: 'good better' }))
  best = await builds.publish(await builds.build({ version: 'good best' }))
  bad = await builds.publish(await builds.build({ version: 'bad' }))
  machine = await UpdatedMachine.start(builds)
})
afterAll(async () => {
  await machine.dispose()
  builds.dispose()
})

beforeEach(async () => {
  await machine.reset()
  await machine.deploy(old, deployed)
  hydra = await serveHydra([evaluation(12, better), evaluation(11, old)])
})
afterEach(async () => {
  endServers()
  await hydra.close()
})

const go = (changes: Record<string, unknown> = {}, flags: readonly string[] = []) =>
  machine.run(hydra.model.url, changes, flags)

/** Expects that a run failed with this message, and changed nothing. */
async function expectRefused(words: string | RegExp, ended: Awaited<ReturnType<typeof go>>): Promise<void> {
  expect(ended).toMatchObject({ kind: 'exited', code: 1, said: expect.stringMatching(words) })
  expect(ended.stderr).toBe('')
  expect(await machine.runs()).toEqual({ path: old, version: 'good old' })
  expect(await machine.result()).toMatchObject({
    result: 'failed',
    message: ended.said.replace('failed: ', ''),
  })
  expect(await machine.leftovers()).toBe('')
}

const aliceEnters = () =>
  withSetUpLock(
    () => machine.namespace.host,
    'alice',
    run,
    async () => 'in',
  )
const literally = (text: string) => new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))

describe('an automatic update', () => {
  it('fetches and activates the newest green build, says so, and does nothing the next time', async () => {
    const ended = await go({ healthChecks: isGood })
    expect(ended).toMatchObject({
      code: 0,
      stderr: '',
      said: 'updated: updated to evaluation 12 (build 120)',
    })
    expect(ended.stdout).toContain('file /etc/version written')
    expect(await machine.runs()).toEqual({ path: better, version: 'good better' })
    expect(await machine.result()).toMatchObject({
      result: 'updated',
      evaluation: 12,
      build: 120,
      path: better,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      url: hydra.model.url,
      job: 'web',
    })
    expect(await machine.leftovers()).toBe('')
    expect(await go()).toMatchObject({ code: 0, said: 'up-to-date: evaluation 12 runs' })
  })

  it('says with --look what it would do, and changes nothing', async () => {
    expect(await go({}, ['--look'])).toMatchObject({
      code: 0,
      stdout: `evaluation 12 is the newest: ${better}\n`,
    })
    expect(await machine.runs()).toMatchObject({ path: old })
    expect(await machine.leftovers()).toBe('')
  })

  it('passes over a red gate and an unfinished one, each with the reason', async () => {
    hydra.model.evaluations = [
      evaluation(14, best, 1),
      { ...evaluation(13, best), jobs: { ...evaluation(13, best).jobs, release: { id: 132 } } },
      ...hydra.model.evaluations,
    ]
    const ended = await go()
    expect(ended.stdout).toContain('passed over: evaluation 14: build 142: failed\n')
    expect(ended.stdout).toContain('passed over: evaluation 13: build 132: not finished\n')
    expect(await machine.runs()).toMatchObject({ path: better })
  })

  it('never goes back to an older build after Hydra loses the newer one', async () => {
    await go()
    hydra.model.evaluations = [evaluation(12, better, 1), evaluation(11, old)]
    expect(await go()).toMatchObject({ code: 0, said: 'up-to-date: evaluation 12 runs' })
    hydra.model.evaluations = [evaluation(11, old)]
    expect(await go()).toMatchObject({ code: 0, said: 'up-to-date: evaluation 12 runs' })
    expect(await machine.runs()).toMatchObject({ path: better })
  })

  it('leaves a system alone that was deployed after the newest evaluation', async () => {
    await machine.deploy(best, now)
    expect(await go()).toMatchObject({
      code: 0,
      said: expect.stringContaining('up-to-date: evaluation 12 is older than the system that runs since '),
    })
    expect(await machine.runs()).toMatchObject({ path: best })
  })
})

describe('an automatic update refuses', () => {
  it('a jobset whose gate was never green', async () => {
    hydra.model.evaluations = [evaluation(12, better, 1), evaluation(10, best, 2)]
    await expectRefused(
      `^failed: Hydra at ${hydra.model.url}: no evaluation of infra:main has a green gate 'release'`,
      await go(),
    )
  })

  it('an evaluation that is older than maxAge', async () => {
    await expectRefused(
      '^failed: evaluation 12 is 1 day old, older than deployment.autoUpdate.maxAge allows$',
      await go({ maxAge: 3600 }),
    )
  })

  it('a gate without the machine among its parts, with the jobs that it has', async () => {
    await expectRefused(
      `evaluation 12 has no job 'mail' among the parts of its gate; its jobs are: db web$`,
      await go({ job: 'mail' }),
    )
  })

  it.each([
    ['nothing', null],
    ['a derivation', `/nix/store/${'a'.repeat(32)}-web.drv`],
    ['another place', '/etc/passwd'],
    ['a path with a word for a shell', `/nix/store/${'a'.repeat(32)}-web --option x`],
  ])('a build whose result is %s', async (_, path) => {
    hydra.model.evaluations = [evaluation(12, path)]
    await expectRefused(`build 120 \\('web'\\) has no output in /nix/store$`, await go())
  })

  it('a path that no cache has', async () => {
    const absent = await builds.build({ version: 'good absent' })
    hydra.model.evaluations = [evaluation(12, absent)]
    await expectRefused(literally(`failed: cannot fetch ${absent}: no cache has it`), await go())
  })

  it.each([
    ['nobody', () => undefined],
    ['a stranger', () => builds.stranger],
  ])('a path that is signed by %s, even if nix.conf asks for no signature', async (name, key) => {
    const path = await builds.build({ version: `good for ${name}` })
    await publish(path, key())
    hydra.model.evaluations = [evaluation(12, path)]
    await machine.trust(['require-sigs = false'])
    await expectRefused(
      literally(`failed: cannot fetch ${path}: it is not signed by a trusted key`),
      await go(),
    )
  })

  it('a build that needs packages of Debian which are not there', async () => {
    const path = await builds.publish(
      await builds.build({ version: 'good', apt: ['perl-base', 'no-such-package'] }),
    )
    hydra.model.evaluations = [evaluation(12, path)]
    await expectRefused(
      'needs Debian packages that are not installed: no-such-package; a deploy installs them$',
      await go(),
    )
  })
})

/** Publishes a closure, signed if a key is given. */
async function publish(path: string, key: string | undefined): Promise<void> {
  if (key !== undefined) await builds.publish(path, key)
  else await builds.publishUnsigned(path)
}

describe('an automatic update changes nothing, and says in one sentence, that Hydra', () => {
  it('is down', async () => {
    await expectRefused(
      /^failed: Hydra at http:\/\/127\.0\.0\.1:1 does not answer \/jobset\/infra\/main\/evals: Failed to connect/,
      await machine.run('http://127.0.0.1:1'),
    )
  })

  it('accepts and stays silent', async () => {
    const url = await listen(() => {})
    await expectRefused(
      /does not answer \/jobset\/infra\/main\/evals: .*timed out/,
      await machine.run(url, { askSeconds: 1 }),
    )
  })

  it('answers with HTML', async () => {
    const url = await listen((_, answer) => answer.end('<!DOCTYPE html><html></html>'))
    await expectRefused(
      'answers /jobset/infra/main/evals with a page of HTML instead of JSON$',
      await machine.run(url),
    )
  })

  it('answers with half of its JSON', async () => {
    const url = await listen((_, answer) => answer.end('{"evals": ['))
    await expectRefused('answers /jobset/infra/main/evals with text instead of JSON$', await machine.run(url))
  })

  it('fails', async () => {
    const url = await listen((_, answer) => answer.writeHead(500).end('{"error":"DBI"}'))
    await expectRefused('fails at /jobset/infra/main/evals with status 500$', await machine.run(url))
  })

  it('has no such jobset', async () => {
    await expectRefused('has no jobset infra:other$', await go({ jobset: 'other' }))
  })

  it.each(['http://hydra.example.org/eval/1', 'https://127.0.0.1/', '//other/'])(
    'redirects to %s',
    async (location) => {
      const url = await listen((_, answer) => answer.writeHead(302, { location }).end())
      await expectRefused('redirects to another address: ', await machine.run(url))
    },
  )

  it('redirects forever', async () => {
    const url = await listen((_, answer) => answer.writeHead(302, { location: '/again' }).end())
    await expectRefused('redirects /jobset/infra/main/evals again and again$', await machine.run(url))
  })
})

describe('a build that does not work', () => {
  it('is left again after a failed health check, is not tried again, and a newer one is', async () => {
    hydra.model.evaluations = [evaluation(13, bad)]
    const ended = await go({ healthChecks: isGood })
    expect(ended).toMatchObject({
      code: 1,
      said: `went-back: evaluation 13 (build 130): health check failed: cmd: grep -q good /etc/version: exit status 1; went back to ${old}`,
    })
    expect(await machine.runs()).toEqual({ path: old, version: 'good old' })
    expect(await machine.leftovers()).toBe('')
    const again = await go({ healthChecks: isGood })
    expect(again).toMatchObject({
      code: 1,
      said: expect.stringMatching(/^refused: evaluation 13 was tried before: health check failed: /),
    })
    hydra.model.evaluations = [evaluation(14, best), evaluation(13, bad)]
    expect(await go({ healthChecks: isGood })).toMatchObject({ code: 0 })
    expect(await machine.runs()).toEqual({ path: best, version: 'good best' })
  })

  it('is left again after a failed activation', async () => {
    const path = await builds.publish(await builds.build({ version: 'half', activate: 'exit 3' }))
    hydra.model.evaluations = [evaluation(13, path)]
    expect(await go()).toMatchObject({
      code: 1,
      said: `went-back: evaluation 13 (build 130): the activation ended with status 2; went back to ${old}`,
    })
    expect(await machine.runs()).toEqual({ path: old, version: 'good old' })
  })
})

describe('an update and a deploy', () => {
  it('do not work at once: the update waits for its next time while a deploy has the machine', async () => {
    const who = 'alice@laptop with the state /home/alice/s'
    await withSetUpLock(
      () => machine.namespace.host,
      who,
      run,
      async () => {
        const ended = await go()
        expect(ended).toMatchObject({
          code: 0,
          said: `busy: ${who} has held the machine for less than a minute`,
        })
        expect(await machine.runs()).toMatchObject({ path: old })
      },
    )
    expect(await go()).toMatchObject({ code: 0, said: expect.stringContaining('updated') })
  })

  it('do not work at once: a deploy and a second update are refused while an update has the machine', async () => {
    await machine.namespace.sh('mkdir -p /run/test && mkfifo /run/test/begun /run/test/go')
    const waits = {
      cmd: ['sh', '-c', 'echo > /run/test/begun; cat /run/test/go'],
      period: 0.1,
      timeout: 300,
      total: 300,
    }
    const first = go({ healthChecks: { cmd: [waits] } })
    await machine.namespace.sh('cat /run/test/begun')
    expect(await machine.start()).toMatchObject({ code: 0, said: 'another automatic update is under way' })
    await expect(aliceEnters()).rejects.toMatchObject({
      message: "machine 'local' has been locked for set-up by its automatic update for less than a minute",
    })
    await machine.namespace.sh('echo > /run/test/go')
    expect(await first).toMatchObject({ code: 0 })
    expect(await aliceEnters()).toBe('in')
  })

  it('never wait for an update that was killed', async () => {
    const ended = await go({}, ['--stop-after=3'])
    expect(ended.kind).not.toBe('lost')
    await machine.write('/run/hydra-ops/set-up-by', 'its automatic update\n')
    expect(await aliceEnters()).toBe('in')
  })

  it('keep what the deploy put there after an update was killed', async () => {
    await killAfterStart()
    await machine.deploy(best, now)
    expect(await go()).toMatchObject({
      code: 0,
      said: 'up-to-date: the machine was deployed after an update that was interrupted',
    })
    expect(await machine.runs()).toMatchObject({ path: best })
    expect(await machine.leftovers()).not.toContain('attempt')
  })
})

/** Kills an update once its activation has begun, and waits until the activation has ended. */
async function killAfterStart(): Promise<void> {
  for (let step = 0; ; step += 1) {
    await go({}, [`--stop-after=${step}`])
    if ((await machine.leftovers()).includes('/run/units/hydra-ops-auto')) break
    expect(step).toBeLessThan(30)
  }
  await machine.namespace.sh('until ls /run/units/*.code > /dev/null 2>&1; do sleep 0.1; done')
}

describe('an update that is killed at any step', () => {
  it.each([
    ['ends with the new build', () => better, {}, 'good better'],
    [
      'ends with the old build if the new one is not healthy',
      () => bad,
      { healthChecks: isGood },
      'good old',
    ],
  ])('%s', { timeout: 600_000 }, async (_, path, changes, version) => {
    hydra.model.evaluations = [evaluation(12, path())]
    let killed = 0
    for (; killed < 40; killed += 1) {
      await machine.reset()
      await machine.deploy(old, deployed)
      const first = await go(changes, [`--stop-after=${killed}`])
      if (first.kind === 'exited' && first.code < 2) break
      await go(changes)
      expect(await machine.runs(), `kill ${killed}`).toMatchObject({ version })
      expect(await machine.leftovers(), `kill ${killed}`).toBe('')
    }
    expect(killed).toBeGreaterThan(5)
    expect(killed).toBeLessThan(40)
  })
})
