import { describe, expect, it } from 'vitest'
import { failure, interrupted, locked, unreachable } from '../../src/core/errors.js'
import { createFakeOps } from '../fakes/fake-ops.js'
import { runCli } from './run-cli.js'

/** Runs `doctor`, the verb with the least setup, with a part that throws a chosen error. */
async function failing(error: unknown, ...flags: string[]) {
  const ops = await createFakeOps({
    parts: {
      doctor: async () => {
        throw error
      },
    },
  })
  try {
    return await runCli(['doctor', ...flags], { ops })
  } finally {
    ops.cleanup()
  }
}

describe('the list of verbs', () => {
  it('is in the help, on standard output', async () => {
    const { code, stdout, stderr } = await runCli(['--help'])
    expect(code).toBe(0)
    expect(stderr).toBe('')
    for (const verb of ['create', 'deploy', 'ssh-for-each', 'config'])
      expect(stdout).toMatch(new RegExp(`^  ${verb} `, 'm'))
    expect(stdout).not.toContain('list-generations')
  })

  it('is offered when no verb is given', async () => {
    const { code, stdout, stderr } = await runCli([])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toBe('error: the verb is missing\nhint: hydra-ops --help lists the verbs\n')
  })

  it('is not matched against a flag', async () => {
    const { code, stderr } = await runCli(['--yse'])
    expect(code).toBe(2)
    expect(stderr).toContain("the verb is missing before '--yse'")
  })

  it.each([
    ['apply', 'deploy'],
    ['up', 'deploy'],
    ['exec', 'ssh-for-each'],
    ['push', 'deploy --copy-only'],
    ['upload-keys', 'send-keys'],
    ['show-arguments', 'info'],
    ['copy-closure', 'deploy --closure MACHINE=PATH'],
    ['mount', 'ssh-config (then: sshfs -F)'],
    ['halt', 'stop'],
    ['provision', 'setup run'],
    ['status', 'info'],
    ['list-generations', 'info'],
    ['show-physical', 'show-option --physical'],
    ['introspect', 'show-option OPTION'],
    ['delete-resources', 'destroy'],
    ['clean-backups', 'snapshot delete'],
    ['dry-activate', 'deploy --dry-activate'],
    ['depoly', 'deploy'],
    ['destory', 'destroy'],
    ['chek', 'check'],
  ])('suggests one for verbs of peers and mistyped verbs: %s', async (word, meant) => {
    const { code, stderr } = await runCli([word, '-d', 'lab'])
    expect(code).toBe(2)
    expect(stderr).toBe(`error: there is no verb '${word}'\nhint: did you mean: hydra-ops ${meant}\n`)
  })

  it.each([
    ['import', 'hydra-ops cannot read the state of NixOps'],
    ['export', 'copy the state folder'],
    ['clone', 'hydra-ops create FILE… -d NAME'],
    ['rename', 'rename the machine in the network expression'],
    ['edit', 'hydra-ops info names the files'],
    ['apply-local', 'does not deploy to the host on which it runs'],
    ['check-health', 'no verb runs deployment.healthChecks alone; hydra-ops deploy runs them at its end'],
  ])('explains what replaces a verb of NixOps, Morph or Colmena: %s', async (word, sentence) => {
    const { code, stderr } = await runCli([word, '--all'])
    expect(code).toBe(2)
    expect(stderr).toMatch(new RegExp(`^error: there is no verb '${word}'\nhint: `))
    expect(stderr).toContain(sentence)
  })

  it('is named in the hint for an unrecognisable verb', async () => {
    expect((await runCli(['xyzzyxyzzy'])).stderr).toContain('hint: hydra-ops --help lists the verbs')
  })
})

describe('a verb with parts', () => {
  it.each(['image', 'config'])('asks for the part: %s', async (verb) => {
    const { code, stdout, stderr } = await runCli([verb])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toBe(`error: the action of '${verb}' is missing\nhint: hydra-ops ${verb} --help\n`)
  })
})

describe('a wrong flag', () => {
  it('gets a suggestion when it is mistyped, and nothing is opened', async () => {
    const { code, stdout, stderr } = await runCli(['destroy', '--yse'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toBe("error: unknown option '--yse'\nhint: did you mean --yes?\n")
  })

  it.each([
    [['deploy', '--plan-only'], 'hydra-ops plan shows the plan'],
    [['deploy', '--repair'], 'deploy --check verifies every path'],
    [['deploy', '--max-concurrent-copy=3'], 'use --max-concurrent N'],
    [['stop', '--all'], 'name the deployments one by one with -d'],
    [['reboot', '--no-wait'], 'reboot waits until the machine answers'],
    [['list', '-s', 'deployments.nixops'], 'use --state DIR'],
    [['deploy', '--tagged', 'web'], "use --on '@TAG'"],
    [['deploy', '--reboot'], 'use --allow-reboot'],
    [['deploy', '--magic-rollback', 'true'], 'unless a new login confirms the system'],
    [['deploy', 'dry-activate'], 'did you mean: hydra-ops deploy --dry-activate'],
    [['deploy', '-d', 'lab', 'web'], 'select machines with --include MACHINE…'],
    [['destroy', 'web'], 'select machines with --include MACHINE…'],
    [['rollback', '3'], 'hydra-ops rollback MACHINE goes back'],
  ])('of NixOps, Morph, Colmena or deploy-rs names what to write here: %j', async (argv, hint) => {
    const ops = await createFakeOps()
    const { code, stdout, stderr } = await runCli(argv, { ops }).finally(() => ops.cleanup())
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('\nhint: ')
    expect(stderr.split('\nhint: ')[1]).toContain(hint)
  })

  it('keeps the general hint where the word of another tool means nothing to the verb', async () => {
    expect((await runCli(['list', 'switch'])).stderr).toContain('hint: hydra-ops list --help\n')
  })

  it('points to the help of the verb when it is unknown', async () => {
    expect((await runCli(['list', '--quux'])).stderr).toBe(
      "error: unknown option '--quux'\nhint: hydra-ops list --help\n",
    )
  })

  it.each([
    [['deploy', '--max-concurrent', '0'], 'expected a whole number above 0'],
    [['deploy', '--max-concurrent', 'many'], 'expected a whole number above 0'],
    [['deploy', '--arg', 'x'], '--arg needs a name and a value'],
    [['list', 'lab'], "too many arguments for 'list'"],
    [['console'], "missing required argument 'machine'"],
    [['deploy', '-d'], "option '-d, --deployment <name>' argument missing"],
    [['setup', 'rnu', 'nix'], 'Allowed choices are status, run'],
    [['image', 'biuld', 'debian-12'], "unknown command 'biuld'"],
    [['config', 'get'], "missing required argument 'key'"],
    [['deploy', '--on-degraded', 'ignore'], 'Allowed choices are fail, keep, rollback'],
    [['deploy', '--on-failure', 'retry'], 'Allowed choices are continue, stop, rollback-all'],
    [['deploy', '--confirm-timeout', '0'], 'expected a whole number above 0'],
  ])('exits with 2, and so does a wrong argument: %j', async (argv, sentence) => {
    const { code, stderr } = await runCli(argv)
    expect(code).toBe(2)
    expect(stderr).toContain(sentence)
    expect(stderr).not.toMatch(/^\s+at /m)
  })
})

describe('an error', () => {
  it.each([
    [failure('X', 'no'), 1],
    [unreachable('web', 'no'), 4],
    [locked('no'), 5],
    [interrupted('no'), 130],
  ])('exits with its own status: %s', async (error, code) => {
    expect((await failing(error)).code).toBe(code)
  })

  it('is a sentence, the evidence and a remedy', async () => {
    const error = failure('X', 'it broke', { detail: 'line 1\nline 2', hint: 'fix it' })
    expect((await failing(error)).stderr).toBe('error: it broke\n  line 1\n  line 2\nhint: fix it\n')
  })

  it('says so when it is a bug, and exits with 70, with a stack only for --debug', async () => {
    const quiet = await failing(new TypeError('x is undefined'))
    expect(quiet.code).toBe(70)
    expect(quiet.stderr).toContain('this is a bug in hydra-ops: x is undefined')
    expect(quiet.stderr).not.toMatch(/^\s+at /m)
    expect((await failing(new TypeError('x is undefined'), '--debug')).stderr).toMatch(/^\s+at /m)
  })

  it('cannot move the cursor', async () => {
    const { stderr } = await failing(
      failure('X', 'bad\u001b[2J \u0007\u202ename', { hint: 'a\u001b]0;t\u0007b' }),
    )
    expect(stderr).toBe('error: bad \\x07\\u202ename\nhint: ab\n')
  })
})

describe('interruption', () => {
  it('turns its consequences into 130, and is announced once', async () => {
    const controller = new AbortController()
    const ops = await createFakeOps({
      parts: {
        doctor: async () => {
          controller.abort()
          throw new TypeError('socket hang up')
        },
      },
    })
    const { code, stderr } = await runCli(['doctor'], { ops, signal: controller.signal })
    ops.cleanup()
    expect(code).toBe(130)
    expect(stderr.match(/second Ctrl-C/g)).toHaveLength(1)
    expect(stderr).toContain('error: interrupted')
  })
})

describe('check', () => {
  it('keeps its small statuses for the bit mask: wrong usage is 64, its own failure 69', async () => {
    expect((await runCli(['check', '--yse'])).code).toBe(64)
    const ops = await createFakeOps()
    expect((await runCli(['check', '-d', 'nowhere'], { ops })).code).toBe(64)
    ops.cleanup()
    expect((await runCli(['check'])).code).toBe(69)
  })
})
