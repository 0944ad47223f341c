import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { joinPairs } from '../../src/commands/argv.js'
import { registerDeploy } from '../../src/commands/deploy.js'
import { type DeployFlags, deployRequest } from '../../src/commands/deploy-flags.js'
import { registerPlan } from '../../src/commands/plan.js'
import type { Cli } from '../../src/commands/verb.js'
import type { Preferences } from '../../src/core/store.js'
import { plainDeploy } from '../../src/deploy/request.js'
import { createFakeOps } from '../fakes/fake-ops.js'
import { greenWish } from '../fixtures/hydra-wish.js'

/** Returns the request that a command line describes; nothing runs. */
async function requestOf(words: readonly string[], preferences: Preferences = {}, register = registerDeploy) {
  const seen: DeployFlags[] = []
  const cli: Cli = {
    run: async (flags) => {
      seen.push(flags)
    },
  }
  const command = new Command('deploy').exitOverride().configureOutput({ writeErr: () => {} })
  register(command, cli)
  await command.parseAsync(joinPairs(words), { from: 'user' })
  const [flags] = seen
  if (flags === undefined) throw new Error('the verb did not run')
  const ops = await createFakeOps()
  await ops.store.setPreferences(preferences)
  try {
    return await deployRequest(flags, ops, () => {})
  } finally {
    ops.cleanup()
  }
}

const { nix: _, onPlan: __, ...plain } = { ...plainDeploy, maxConcurrent: 10 }

const path = '/nix/store/0123456789abcdfghijklmnpqrsvwxyz-web'

describe('deploy', () => {
  it('asks for nothing special by default', async () => {
    expect(await requestOf([])).toMatchObject(plain)
  })

  it.each([
    [['-d', 'lab'], { deployment: 'lab' }],
    [['--on', 'web*,!web3'], { selection: { on: 'web*,!web3', include: undefined, exclude: undefined } }],
    [
      ['--include', 'a', 'b', '--exclude', 'c'],
      { selection: { on: undefined, include: ['a', 'b'], exclude: ['c'] } },
    ],
    [['--dry-run'], { dryRun: true }],
    [['--build-only'], { until: 'build' }],
    [['--create-only'], { until: 'create' }],
    [['--copy-only'], { until: 'copy' }],
    [['--check'], { check: true }],
    [['-k'], { killObsolete: true }],
    [['--kill-obsolete'], { killObsolete: true }],
    [['--allow-recreate'], { allowRecreate: true }],
    [['--always-activate'], { alwaysActivate: true }],
    [['--allow-reboot'], { allowReboot: true }],
    [['--force-reboot'], { forceReboot: true }],
    [['--skip-offline'], { skipOffline: true }],
    [['--boot'], { mode: 'boot' }],
    [['--test'], { mode: 'test' }],
    [['--dry-activate'], { mode: 'dry-activate' }],
    [['--on-degraded', 'rollback'], { onDegraded: 'rollback' }],
    [['--confirm-timeout', '90'], { confirmSeconds: 90 }],
    [['--no-boot-once'], { bootOnce: false }],
    [['--replace-unknown'], { replaceUnknown: true }],
    [['--on-failure', 'rollback-all'], { onFailure: 'rollback-all' }],
    [['--keep-going-groups'], { keepGoingGroups: true }],
    [['--retry-failed'], { retryFailed: true }],
    [['--max-concurrent', '3'], { maxConcurrent: 3 }],
    [['-y'], { yes: true }],
    [['--yes'], { yes: true }],
    [['--confirm'], { yes: true }],
    [['--accept-host-key'], { acceptHostKey: true }],
    [['--arg', 'size', '1 + 1'], { args: { size: '1 + 1' } }],
    // This Nix string contains a dollar, a quote and a backslash.
    [['--argstr', 'motd', 'a "b" ${c} \\ $d'], { args: { motd: '"a \\"b\\" \\${c} \\\\ $d"' } }],
    [['-I', 'nixpkgs=/src/nixpkgs', '-I', '/lib'], { searchPath: ['nixpkgs=/src/nixpkgs', '/lib'] }],
    [['--closure', `web=${path}`], { closures: new Map([['web', path]]) }],
  ])('reads %j', async (words, expected) => {
    expect(await requestOf(words)).toMatchObject({ ...plain, ...expected })
  })

  it.each([
    [['--dry-activate', '--boot'], '--boot and --dry-activate cannot be combined'],
    [['--boot', '--test', '--dry-activate'], '--boot and --test and --dry-activate cannot be combined'],
    [['--test', '--copy-only'], '--test and --copy-only cannot be combined'],
    [['--boot', '--force-reboot'], '--boot and --force-reboot cannot be combined'],
    [['--test', '--on-degraded', 'keep'], '--test and --on-degraded keep cannot be combined'],
    [['--dry-activate', '-k'], '--dry-activate and --kill-obsolete cannot be combined'],
    [['--boot', '--on-failure', 'rollback-all'], '--boot and --on-failure rollback-all cannot be combined'],
  ])('refuses %j', async (words, message) => {
    await expect(requestOf(words)).rejects.toMatchObject({ message, exitCode: 2 })
  })

  it('passes on the options of Nix', async () => {
    const words = [
      '-j',
      '4',
      '--cores',
      '2',
      '-K',
      '--keep-going',
      '--fallback',
      '--builders',
      'ssh://b',
      '--show-trace',
    ]
    const { nix, keepGoing } = await requestOf([
      ...words,
      '--option',
      'sandbox',
      'false',
      '--option',
      'a',
      '',
    ])
    expect(keepGoing).toBe(true)
    expect(nix).toEqual({
      showTrace: true,
      options: [
        ['sandbox', 'false'],
        ['a', ''],
      ],
      maxJobs: '4',
      cores: '2',
      keepFailed: true,
      keepGoing: true,
      fallback: true,
      builders: 'ssh://b',
    })
  })

  it('takes the number of simultaneous machines from the preferences when no flag sets it', async () => {
    expect((await requestOf([], { maxConcurrent: 4 })).maxConcurrent).toBe(4)
    expect((await requestOf(['--max-concurrent', '2'], { maxConcurrent: 4 })).maxConcurrent).toBe(2)
  })

  it('takes the results of a Hydra from the place in the network or in the flag', async () => {
    const wish = greenWish
    expect((await requestOf(['--from-hydra'])).fromHydra).toEqual(wish)
    const source = { url: 'https://hydra.example.org', project: 'infra', jobset: 'main' }
    const words = ['--from-hydra', 'https://hydra.example.org/job/infra/main']
    expect((await requestOf(words)).fromHydra).toEqual({ ...wish, source })
  })

  it.each([
    [['--eval', '7', '--ignore-gate'], { which: { kind: 'evaluation', id: 7 }, ignoreGate: true }],
    [['--build', '70'], { which: { kind: 'build', id: 70 } }],
    [['--latest'], { which: { kind: 'latest' } }],
    [['--latest-finished'], { which: { kind: 'latest-finished' } }],
    [['--job', 'infra:main:tested'], { job: { project: 'infra', jobset: 'main', job: 'tested' } }],
    [['--max-age', '2d'], { maxAge: 172_800 }],
    [['--allow-older', '--allow-unsigned'], { allowOlder: true, allowUnsigned: true }],
  ])('understands %j beside --from-hydra, and refuses it alone', async (words, wish) => {
    for (const register of [registerDeploy, registerPlan])
      expect((await requestOf(['--from-hydra', ...words], {}, register)).fromHydra).toMatchObject(wish)
    await expect(requestOf(words)).rejects.toThrow(`${words[0]} needs --from-hydra`)
  })

  it.each([
    [['--from-hydra', '--eval', '1', '--latest'], '--eval and --latest cannot be combined'],
    [['--from-hydra', '--ignore-gate'], '--ignore-gate needs --eval or --build'],
    [['--from-hydra', 'https://hydra.example.org'], 'is not the URL of a jobset'],
    [['--from-hydra', '--job', 'infra:main'], "'infra:main' is not a job of Hydra"],
    [['--build-only', '--copy-only'], '--build-only and --copy-only cannot be combined'],
    [['--closure', path], 'expected MACHINE=/nix/store/…'],
    [['--closure', 'web=/tmp/x'], 'expected MACHINE=/nix/store/…'],
    [['--arg', 'not a name', '1'], "'not a name' is not a valid name of an argument in Nix"],
  ])('refuses %j', async (words, sentence) => {
    await expect(requestOf(words)).rejects.toThrow(sentence)
  })
})

describe('plan', () => {
  it('accepts the options that change the plan, and no option that acts', async () => {
    const words = ['--on', 'web', '-k', '--allow-recreate', '--allow-reboot', '--check']
    expect(await requestOf(words, {}, registerPlan)).toMatchObject({
      killObsolete: true,
      allowRecreate: true,
    })
    await expect(requestOf(['--yes'], {}, registerPlan)).rejects.toThrow("unknown option '--yes'")
  })
})
