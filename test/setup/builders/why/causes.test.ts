import { describe, expect, it } from 'vitest'
import {
  type Attempt,
  type Cause,
  causeFrom,
  causeOfAttempts,
  unknownHint,
  type WhyFacts,
} from '../../../../src/setup/builders/why/causes.js'
import { type Entry, entriesOf, nixReader, shownLine } from '../../../../src/setup/builders/why/lists.js'

const b1 = 'ssh://nix-builder@b1 x86_64-linux /etc/key 2 1 big-parallel - c3NoLWVkMjU1MTk='
const list = '/etc/nix/machines'

/** Facts of a daemon with one builder, which builds for the derivation. */
function facts({ line = b1, ...more }: Partial<WhyFacts> & { readonly line?: string } = {}): WhyFacts {
  return {
    derivation: {
      path: '/nix/store/x.drv',
      system: 'x86_64-linux',
      features: [],
      prefersLocal: false,
      builtin: false,
    },
    built: false,
    decider: 'daemon',
    user: 'alice',
    trusted: true,
    own: { systems: ['x86_64-linux'], features: ['kvm'], maxJobs: 0 },
    hostNames: ['ci'],
    reader: more.decider === 'queue runner' ? 'queue runner' : 'daemon',
    lists: [{ place: list, text: `# builders\n${line}\n` }],
    passedOver: [],
    ignored: [],
    busy: [],
    reported: new Map(),
    ...more,
  }
}

const needs = (system: string, ...features: string[]) => ({
  derivation: { ...facts().derivation, system, features },
})

function causeOf(given: WhyFacts): Cause {
  const found = causeFrom(given)
  if ('takers' in found) throw new Error(`left to real builds: ${found.takers.map(({ name }) => name)}`)
  return found
}

function takersOf(given: WhyFacts): string[] {
  const found = causeFrom(given)
  return 'takers' in found ? found.takers.map(({ name }) => name) : []
}

describe('the facts about a derivation', () => {
  const cases: readonly (readonly [string, WhyFacts, Partial<Cause>])[] = [
    ['is built', facts({ built: true }), { kind: 'built', cause: 'every output is in the store already' }],
    [
      'is for the machine itself',
      facts({ own: { ...facts().own, maxJobs: 1 } }),
      { kind: 'itself', cause: 'this machine builds the derivation itself, without a builder' },
    ],
    [
      'has no list of builders',
      facts({ lists: [{ place: list, text: undefined }] }),
      {
        kind: 'builders',
        cause:
          'no builder offers the system x86_64-linux; this machine builds nothing itself (max-jobs is 0)',
        remedy:
          'no list names a builder (missing: /etc/nix/machines): set deployment.builder on a machine for x86_64-linux',
      },
    ],
    [
      'has a list that its user may not read',
      facts({ lists: [{ place: list, text: undefined, unreadable: true }] }),
      {
        kind: 'unreadable',
        cause: "user 'alice' may not read /etc/nix/machines, which may name a builder",
        remedy: 'run the command as root: the Nix daemon reads the list as root',
      },
    ],
    [
      'has a list that the Nix of its user may not read',
      facts({ decider: 'user', lists: [{ place: list, text: undefined, unreadable: true }] }),
      {
        kind: 'unreadable',
        cause: "user 'alice' may not read /etc/nix/machines, and no build begins without this list",
        remedy: 'let alice read /etc/nix/machines, or remove the list from the setting builders',
      },
    ],
    [
      'needs a system that nobody offers',
      facts(needs('aarch64-linux')),
      {
        kind: 'system',
        cause: 'no builder offers the system aarch64-linux',
        line: expect.stringMatching(/^\/etc\/nix\/machines:2: ssh:\/\/nix-builder@b1 .* - …$/),
        remedy: expect.stringContaining('deployment.binfmt.emulatedSystems'),
      },
    ],
    [
      'needs a feature that nobody offers',
      facts(needs('x86_64-linux', 'gpu')),
      {
        kind: 'feature',
        cause: expect.stringContaining('no builder of x86_64-linux offers the feature gpu'),
        remedy: expect.stringContaining('system-features in the nix.conf of that builder'),
      },
    ],
    [
      'needs features that no builder has together',
      facts({
        line: `${b1}\nssh://b2 x86_64-linux - 1 1 kvm`,
        ...needs('x86_64-linux', 'kvm', 'big-parallel'),
      }),
      { kind: 'combination', cause: expect.stringContaining('no single builder of x86_64-linux offers all') },
    ],
    [
      'does not require the mandatory feature',
      facts({ line: b1.replace('big-parallel -', 'big-parallel,gpu gpu') }),
      {
        kind: 'mandatory',
        cause: expect.stringContaining(
          'takes only steps with a mandatory feature: ssh://nix-builder@b1 (gpu)',
        ),
      },
    ],
    [
      'has a drained builder alone',
      facts({ line: b1.replace(' 2 1 ', ' 0 1 ') }),
      {
        kind: 'jobs',
        cause: 'builder ssh://nix-builder@b1 takes no builds: its maxJobs is 0',
        remedy: expect.stringContaining('hydra-ops builders resume'),
      },
    ],
    [
      'waits for slots of a daemon',
      facts({ busy: ['ssh:__nix-builder@b1-0', 'ssh:__nix-builder@b1-1', 'ssh:__other-0'] }),
      {
        kind: 'busy',
        cause: 'builder ssh://nix-builder@b1 is busy: 2 of its 2 jobs run',
        remedy: 'wait, raise deployment.builder.maxJobs, or add a builder',
      },
    ],
    [
      'waits for slots of a queue runner',
      facts({
        decider: 'queue runner',
        reported: new Map([['ssh://nix-builder@b1', { currentJobs: 2, disabledFor: 0, failures: 0 }]]),
      }),
      { kind: 'busy', cause: expect.stringContaining('2 of its 2 jobs run') },
    ],
    [
      'has a list with bad base64',
      facts({ line: `${b1}\nssh://b2 x86_64-linux - 1 1 - - %%%` }),
      {
        kind: 'list',
        cause: 'Nix cannot read one line, and therefore builds nothing: the host key is not in base64',
        line: `${list}:3: ssh://b2 x86_64-linux - 1 1 - - …`,
        remedy: expect.stringContaining('hydra-ops setup run builders --redo rewrites the list'),
      },
    ],
    [
      'has a queue runner with a bad list',
      facts({ decider: 'queue runner', line: `${b1}\nb2 x86_64-linux - four 1 - - -` }),
      { kind: 'list', cause: expect.stringContaining('and therefore ignores all builders: maxJobs is four') },
    ],
    [
      'is for the machine itself, whose Nix cannot read a line',
      facts({ line: 'ssh://b2 x86_64-linux - four', own: { ...facts().own, maxJobs: 1 } }),
      { kind: 'list', cause: expect.stringContaining('and therefore builds nothing: maxJobs is four') },
    ],
    [
      'is for the machine itself, and asks no builder',
      facts({
        line: 'ssh://b2 x86_64-linux - four',
        own: { ...facts().own, maxJobs: 1 },
        derivation: { ...facts().derivation, prefersLocal: true },
      }),
      { kind: 'itself' },
    ],
    [
      'has a line of blanks before a comment, for an early Nix',
      facts({ reader: 'early daemon', line: `  # spare\n${b1}` }),
      {
        kind: 'list',
        cause: expect.stringContaining('builds nothing: the line has only blanks before its end or comment'),
        line: `${list}:2: `,
      },
    ],
    [
      'has its builder in a file that an early Nix passes over',
      facts({ reader: 'early daemon', lists: [], passedOver: [{ place: list, text: b1 }] }),
      {
        kind: 'passed-over',
        cause: 'this Nix does not read /etc/nix/machines: the setting builders has a blank before the @',
        remedy: 'write ;@/etc/nix/machines in the setting builders, without the blank',
      },
    ],
    [
      'has no builder in the file that an early Nix passes over either',
      facts({
        reader: 'early daemon',
        lists: [],
        passedOver: [{ place: list, text: b1 }],
        ...needs('riscv64-linux'),
      }),
      { kind: 'builders' },
    ],
    [
      'has a builder that is the machine of the queue runner',
      facts({ decider: 'queue runner', line: 'nix@ci x86_64-linux - 1' }),
      {
        kind: 'itself-by-ssh',
        cause: 'nix@ci is the machine of the queue runner itself, which then waits for its own lock',
        line: `${list}:2: nix@ci x86_64-linux - 1`,
        remedy: "name the machine 'localhost' in deployment.hydra.buildMachines, without user",
      },
    ],
    [
      'is for localhost, and its daemon does not trust the queue runner',
      facts({
        decider: 'queue runner',
        line: 'localhost x86_64-linux - 1',
        user: 'hydra-queue-runner',
        trusted: false,
      }),
      {
        kind: 'untrusted',
        cause: "the Nix daemon of the machine does not trust user 'hydra-queue-runner'",
        remedy: 'run hydra-ops setup run nix --redo: hydra-queue-runner must be listed in trusted-users',
      },
    ],
    [
      'has builders only in the settings of an untrusted user',
      facts({ lists: [], ignored: [{ place: '/home/alice/machines', text: b1 }], trusted: false }),
      {
        kind: 'ignored',
        cause: "the Nix daemon does not trust user 'alice', and ignores the builders of that user",
        line: expect.stringContaining('/home/alice/machines:1: '),
        remedy:
          'add alice to trusted-users in /etc/nix/nix.conf, or move the line to /etc/nix/machines, and restart nix-daemon',
      },
    ],
  ]

  it.each(cases)('name the cause where it %s', (_, given, expected) => {
    expect(causeOf(given)).toMatchObject(expected)
  })

  it('leave builders without a known fault to a real build', () => {
    expect(takersOf(facts())).toEqual(['ssh://nix-builder@b1'])
    expect(takersOf(facts({ busy: ['ssh:__nix-builder@b1-0'] }))).toHaveLength(1)
    const two = `${b1}\nssh://b2 - - 1\nssh://b3 x86_64-linux - 0`
    expect(takersOf(facts({ line: two }))).toEqual(['ssh://nix-builder@b1', 'ssh://b2'])
    // An untrusted user can still use the daemon's own builders.
    expect(takersOf(facts({ trusted: false }))).toHaveLength(1)
  })

  it('leave an unreadable list aside where another list has a builder', () => {
    const shut = { place: '/etc/nix/closed-machines', text: undefined, unreadable: true }
    const open = { place: list, text: b1 }
    expect(takersOf(facts({ lists: [shut, open] }))).toHaveLength(1)
    expect(causeOf(facts({ decider: 'user', lists: [shut, open] })).kind).toBe('unreadable')
  })

  it('take a builtin for the system of a queue runner', () => {
    const decider = 'queue runner'
    const derivation = { ...facts().derivation, system: 'builtin', builtin: true }
    expect(takersOf(facts({ decider, derivation }))).toEqual(['ssh://nix-builder@b1'])
    const foreign = b1.replace('x86_64-linux', 'aarch64-linux,builtin')
    expect(causeOf(facts({ decider, derivation, line: foreign }))).toMatchObject({
      kind: 'system',
      cause: 'no builder offers the system x86_64-linux',
    })
    // A daemon needs a builder for the system that the derivation names.
    expect(causeOf(facts({ derivation })).cause).toContain('no builder offers the system builtin')
  })

  it('count a local build as the feature local of a queue runner, and of no daemon', () => {
    const line = b1.replace('big-parallel -', 'big-parallel,local local')
    const derivation = { ...facts().derivation, prefersLocal: true }
    const own = { ...facts().own, maxJobs: 1 }
    expect(takersOf(facts({ decider: 'queue runner', line, derivation, own }))).toHaveLength(1)
    expect(causeOf(facts({ decider: 'queue runner', line, own })).kind).toBe('mandatory')
    expect(causeOf(facts({ line, derivation })).kind).toBe('mandatory')
    // The machine's own Nix lacks the feature gpu, so it cannot build the derivation locally.
    const gpu = { ...derivation, features: ['gpu'] }
    const offer = line.replace('big-parallel,', 'gpu,')
    expect(causeOf(facts({ decider: 'queue runner', line: offer, derivation: gpu, own })).kind).toBe(
      'mandatory',
    )
  })

  it.each(['localhost', 'ssh://localhost', 'ssh-ng://localhost'])(
    'take %s for the machine of a queue runner',
    (name) => {
      const line = `${name} x86_64-linux - 1`
      expect(takersOf(facts({ decider: 'queue runner', line }))).toEqual([name])
      expect(causeOf(facts({ decider: 'queue runner', line, trusted: false })).kind).toBe('untrusted')
    },
  )

  it('take a login to localhost for a lock that waits for itself', () => {
    const line = 'nix@localhost x86_64-linux - 1'
    expect(causeOf(facts({ decider: 'queue runner', line })).kind).toBe('itself-by-ssh')
  })

  it('let the daemon build a builtin itself, but not while max-jobs is 0', () => {
    const own = { ...facts().own, maxJobs: 1 }
    const builtin = { ...facts().derivation, system: 'builtin', builtin: true }
    expect(causeOf(facts({ derivation: builtin, own })).kind).toBe('itself')
    expect(causeOf(facts({ derivation: builtin })).kind).toBe('system')
    // A derivation is builtin because of its builder, not because of its system.
    expect(causeOf(facts({ derivation: { ...builtin, builtin: false }, own })).kind).toBe('system')
    expect(causeOf(facts({ derivation: { ...builtin, system: 'riscv64-linux' }, own })).kind).toBe('itself')
  })

  it('do not name the missing trust if the ignored builders would not help either', () => {
    const ignored = [{ place: 'x', text: b1 }]
    expect(causeOf(facts({ lists: [], ignored, trusted: false, ...needs('riscv64-linux') })).kind).toBe(
      'builders',
    )
  })

  it('come from lines of a setting too, and from hyphens', () => {
    const [first, second, ...more] = entriesOf(
      [{ place: 'the setting builders', text: '@/etc/nix/machines ; ssh://b2 - - - ; b3 i686-linux' }],
      'daemon',
      'riscv64-linux',
    )
    expect(first).toMatchObject({ name: 'ssh://b2', systems: ['riscv64-linux'], maxJobs: 1 })
    expect(second).toMatchObject({ name: 'b3', systems: ['i686-linux'] })
    expect(more).toEqual([])
  })
})

describe('the version of a Nix', () => {
  it.each([
    ['nix (Nix) 2.8.0', 'early daemon'],
    ['nix (Nix) 2.27.1', 'early daemon'],
    ['nix (Nix) 2.28.3', 'daemon'],
    ['nix (Nix) 3.0.1', 'daemon'],
    ['nix (Lix, like Nix) 2.93.0', 'early daemon'],
    ['', 'daemon'],
  ])('tells how %j reads a list', (version, reader) => {
    expect(nixReader(version)).toBe(reader)
  })
})

describe('the shown line of a builder', () => {
  it.each([
    ['nix-builder@b1 x86_64-linux - 1 1 - - -', 'nix-builder@b1 x86_64-linux - 1 1 - - -'],
    ['b1 x86_64-linux  /etc/key 1 1 kvm - c3No x', 'b1 x86_64-linux  /etc/key 1 1 kvm - … x'],
    ['1 x86_64-linux - 1 1 - - 1', '1 x86_64-linux - 1 1 - - …'],
    ['b1 x86_64-linux', 'b1 x86_64-linux'],
  ])('hides the host key of %j, and nothing else', (line, shown) => {
    expect(shownLine(line)).toBe(shown)
  })
})

describe('real builds', () => {
  const entries = (line: string): Entry[] =>
    entriesOf([{ place: list, text: line }], 'daemon', 'x86_64-linux')
  const failed = (why: string, worksAs?: string): Attempt[] =>
    entries(b1).map((entry) => ({ entry, built: false, cause: { why, hint: unknownHint }, worksAs }))

  it('show that nothing hinders the build once one of them succeeds', () => {
    const good: Attempt[] = entries('ssh://b2').map((entry) => ({ entry, built: true }))
    expect(causeOfAttempts(facts(), [...failed('no'), ...good])).toMatchObject({
      kind: 'free',
      cause: 'nothing prevents the build: ssh://b2 built for the same system and features',
    })
  })

  it('report a builder that the queue runner leaves alone after failures', () => {
    const good: Attempt[] = entries(b1).map((entry) => ({ entry, built: true }))
    const reported = new Map([['ssh://nix-builder@b1', { currentJobs: 0, disabledFor: 184, failures: 2 }]])
    expect(causeOfAttempts(facts({ decider: 'queue runner', reported }), good)).toMatchObject({
      kind: 'disabled',
      cause:
        'the queue runner leaves builder ssh://nix-builder@b1 alone for another 184 s, after 2 failures; a build there works now',
      remedy: 'wait, or restart hydra-queue-runner, which then retries at once',
    })
  })

  it('report a login that works for another user of the machine', () => {
    expect(causeOfAttempts(facts(), failed('the host key is not known', 'alice'))).toMatchObject({
      kind: 'attempt',
      cause: "the host key is not known, while a build there works as user 'alice'",
      remedy:
        "name the key and the host key in the line: the user who builds has other keys and known hosts than 'alice'",
    })
    expect(causeOfAttempts(facts(), failed('no'))).toMatchObject({ cause: 'no', remedy: unknownHint })
  })
})
