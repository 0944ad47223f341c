import { describe, expect, it } from 'vitest'
import type { WhyPlace } from '../../../../src/core/build-why.js'
import { failure } from '../../../../src/core/errors.js'
import { MachineName } from '../../../../src/core/names.js'
import type { CommandResult } from '../../../../src/core/ssh.js'
import { whyNotBuilt } from '../../../../src/setup/builders/why/ask.js'
import { taskRun } from '../../../fakes/task-run.js'

const path = '/nix/store/00000000000000000000000000000000-x.drv'
const coded = (text: string) => Buffer.from(text).toString('base64')
const derivation = coded(
  `Derive([("out","/nix/store/1-x","","")],[],[],"x86_64-linux","/bin/sh",[],[("name","x")])`,
)

/** Names the builder of a line as Nix does. */
function builderAt(through: string, line: string): string {
  const [name = ''] = line.split(' ')
  if (through === 'itself') return 'localhost'
  return name.includes('://') ? name : `ssh://${name}`
}

/**
 * Answers of a machine: facts, and the result of each build by `USER THROUGH BUILDER`. An empty result means success,
 * `on=` means success on another builder, and any other text is an error.
 */
interface Answers {
  readonly facts: Readonly<Record<string, string | readonly string[]>>
  readonly builds: Readonly<Record<string, string | Error>>
}

function place({ facts, builds }: Answers, more: Partial<WhyPlace> = {}): WhyPlace {
  const exited = (code: number, stdout: string, stderr: string): CommandResult => ({
    kind: 'exited',
    code,
    stdout,
    stderr,
  })
  return {
    shell: {
      machine: MachineName.parse('ci'),
      script: async (text, _args, options) => {
        const value = (name: string) => new RegExp(`^${name}='?([^'\\n]*)'?$`, 'm').exec(text)?.[1] ?? ''
        if (text.startsWith('# tasks/builders/why\n'))
          return exited(
            0,
            Object.entries({ derivation, system: 'x86_64-linux', 'max-jobs': '0', ...facts })
              .flatMap(([name, said]) => [said].flat().map((each) => `${name}=${each}\n`))
              .join(''),
            '',
          )
        const user = options.asLoginUser === true ? 'login' : value('run_as')
        const ended = builds[`${user} ${value('through')} ${value('line').split(' ')[0]}`]
        if (ended === undefined) throw new Error(`an unexpected build: ${user} ${value('line')}`)
        if (ended instanceof Error) throw ended
        const [, on] = /^on=(.*)$/.exec(ended) ?? []
        return ended === '' || on !== undefined
          ? exited(0, `on=${on ?? builderAt(value('through'), value('line'))}\n`, '')
          : exited(1, '', ended)
      },
    },
    where: "machine 'ci'",
    decider: 'daemon',
    user: 'alice',
    root: true,
    file: path,
    store: 'daemon',
    ours: [],
    reported: new Map(),
    ...more,
  }
}

const machinesFile = (...lines: string[]) => ({
  builders: '@/etc/nix/machines',
  'user-builders': '@/etc/nix/machines',
  file: `${coded(lines.join('\n'))} /etc/nix/machines`,
})

describe('the question why a derivation is not built', () => {
  it('is answered by a login that fails as root and works as the user', async () => {
    const why = await whyNotBuilt(
      place({
        facts: machinesFile('ssh://nix@b1 x86_64-linux'),
        builds: { ' daemon ssh://nix@b1': 'Host key verification failed.', 'login own ssh://nix@b1': '' },
      }),
      path,
      taskRun(),
    )
    expect(why).toMatchObject({
      kind: 'attempt',
      hindered: true,
      cause: "the host key of 'b1' is not known, while a build there works as user 'alice'",
      line: '/etc/nix/machines:1: ssh://nix@b1 x86_64-linux',
      remedy: expect.stringContaining('put the host key into the line of the builder'),
    })
  })

  it('is answered by a login that fails as the queue runner and works as root', async () => {
    const why = await whyNotBuilt(
      place(
        {
          facts: { file: `${coded('nix@b1 x86_64-linux /etc/hydra/keys/key 1')} /etc/hydra/machines` },
          builds: {
            'hydra-queue-runner own nix@b1': 'Load key "/etc/hydra/keys/key": Permission denied',
            'root own nix@b1': '',
          },
        },
        { decider: 'queue runner' },
      ),
      path,
      taskRun(),
    )
    expect(why.cause).toBe(
      "user 'hydra-queue-runner' may not read the key /etc/hydra/keys/key, while a build there works as user 'root'",
    )
  })

  it('is answered by the user of the queue runner where a line names no user of the builder', async () => {
    const facts = { file: `${coded('b1 x86_64-linux /k 1')} /etc/hydra/machines` }
    const denied = 'Permission denied (publickey).'
    const builds = { 'hydra-queue-runner own b1': denied, 'root own b1': denied, 'login own b1': denied }
    const told = taskRun()
    const why = await whyNotBuilt(
      place({ facts, builds }, { decider: 'queue runner', user: 'alice' }),
      path,
      told,
    )
    expect(told.lines).toEqual([
      "building on b1 as user 'hydra-queue-runner'",
      "building on b1 as user 'root'",
    ])
    expect(why.cause).toContain("'b1' does not accept the key for user 'hydra-queue-runner'")
  })

  it('compares with no other user where the builder itself is the cause', async () => {
    const why = await whyNotBuilt(
      place({
        facts: machinesFile('ssh://nix@b1 x86_64-linux'),
        builds: { ' daemon ssh://nix@b1': 'error: writing to file: No space left on device' },
      }),
      path,
      taskRun(),
    )
    expect(why).toMatchObject({ cause: "'b1' has no disk space left" })
  })

  it('is answered by a good builder, and still reports the broken ones', async () => {
    const why = await whyNotBuilt(
      place({
        facts: machinesFile('ssh://nix@b1 x86_64-linux', 'ssh://nix@b2 x86_64-linux'),
        builds: {
          ' daemon ssh://nix@b1': 'Connection refused',
          'login own ssh://nix@b1': 'Connection refused',
          ' daemon ssh://nix@b2': '',
        },
      }),
      path,
      taskRun(),
    )
    expect(why).toMatchObject({
      kind: 'free',
      hindered: false,
      also: ['builder ssh://nix@b1: no ssh server answers at b1:22'],
    })
  })

  it('reports a builder that the daemon chose instead of the one in question', async () => {
    const why = await whyNotBuilt(
      place(
        {
          facts: {
            ...machinesFile('ssh://nix@b1 x86_64-linux', 'ssh://nix@b2 x86_64-linux'),
            'trusted-users': 'root',
          },
          builds: { ' daemon ssh://nix@b1': 'on=ssh://nix@b2' },
        },
        { root: false, where: 'this host' },
      ),
      path,
      taskRun(),
    )
    expect(why).toMatchObject({
      kind: 'free',
      hindered: false,
      cause: 'nothing prevents the build: ssh://nix@b2 built for the same system and features',
      line: '/etc/nix/machines:2: ssh://nix@b2 x86_64-linux',
      also: ['builder ssh://nix@b1: not tried, because Nix built on ssh://nix@b2'],
    })
  })

  it('knows the builder again by the address that Nix prints', async () => {
    for (const on of ['ssh://nix@b1', 'ssh://nix@b1?ssh-key=/etc/key']) {
      const answers = { facts: machinesFile('nix@b1 x86_64-linux'), builds: { ' daemon nix@b1': `on=${on}` } }
      const why = await whyNotBuilt(place(answers), path, taskRun())
      expect(why).toMatchObject({ kind: 'free', line: '/etc/nix/machines:1: nix@b1 x86_64-linux', also: [] })
    }
  })

  it('carries all words of Nix for a cause that is not known', async () => {
    const said = 'ssh: a strange word\nwarning: another one\nerror: it failed'
    const answers = {
      facts: machinesFile('ssh://nix@b1 x86_64-linux'),
      builds: { ' daemon ssh://nix@b1': said },
    }
    const why = await whyNotBuilt(place(answers, { user: 'root' }), path, taskRun())
    expect(why).toMatchObject({
      cause: 'a build on ssh://nix@b1 fails: error: it failed',
      detail: said,
      remedy: expect.stringContaining('than the text above'),
    })
  })

  it('carries the words of Nix for a known cause too', async () => {
    const said = 'Connection refused\nerror: cannot connect'
    const answers = {
      facts: machinesFile('ssh://nix@b1 x86_64-linux'),
      builds: { ' daemon ssh://nix@b1': said },
    }
    expect((await whyNotBuilt(place(answers, { user: 'root' }), path, taskRun())).detail).toBe(said)
  })

  it('tells a list that the user may not read from one that is missing', async () => {
    const facts = { builders: '@/etc/nix/machines', 'user-builders': '@/etc/nix/machines' }
    const asked = (file: string) =>
      whyNotBuilt(place({ facts: { ...facts, file }, builds: {} }), path, taskRun())
    expect(await asked('! /etc/nix/machines')).toMatchObject({ kind: 'unreadable', hindered: true })
    expect(await asked('- /etc/nix/machines')).toMatchObject({
      kind: 'builders',
      remedy: expect.stringContaining('(missing: /etc/nix/machines)'),
    })
  })

  it.each<[string, string, string]>([
    ['that the store lacks', '', `machine 'ci' has no derivation ${path}`],
    ['that Nix cannot read', coded('Derive(['), `${path} on machine 'ci' is not a Nix derivation`],
  ])('is refused for a derivation %s', async (_, text, message) => {
    const asked = place({ facts: { derivation: text }, builds: {} })
    const refused = await whyNotBuilt(asked, path, taskRun()).catch((error: unknown) => error)
    expect(refused).toMatchObject({ message })
    if (text === '')
      expect(refused).toMatchObject({
        code: 'NO_DERIVATION',
        hint: expect.stringContaining('the output of nix-instantiate'),
      })
  })

  it('is refused where there is no Nix, with the way to get one', async () => {
    const answers = { facts: { nix: 'none' }, builds: {} }
    await expect(whyNotBuilt(place(answers), path, taskRun())).rejects.toMatchObject({
      code: 'NO_NIX',
      message: "machine 'ci' has no Nix",
      hint: 'install Nix with hydra-ops setup run nix, or ask another machine with --machine NAME',
    })
  })

  it('names this host in the error of a question that fails', async () => {
    const asked = place({ facts: {}, builds: {} }, { where: 'this host' })
    const script: WhyPlace['shell']['script'] = async () => ({
      kind: 'exited',
      code: 1,
      stdout: '',
      stderr: 'sh: no space',
    })
    const shell = { machine: MachineName.parse('localhost'), script }
    await expect(whyNotBuilt({ ...asked, shell }, path, taskRun())).rejects.toMatchObject({
      message:
        'this host: cannot look at the derivation and the lists of builders: the command ended with status 1',
      detail: 'sh: no space',
    })
  })

  it('is answered by a builder that takes a build and never ends it', async () => {
    const why = await whyNotBuilt(
      place(
        {
          facts: machinesFile('ssh://nix@b1 x86_64-linux'),
          builds: { ' daemon ssh://nix@b1': failure('DEADLINE', 'it did not end') },
        },
        { user: 'root' },
      ),
      path,
      taskRun(),
    )
    expect(why).toMatchObject({
      cause: 'builder ssh://nix@b1 accepted a tiny build, but did not finish it within 5 minutes',
      remedy: 'the builder is frozen or overloaded: look at its load and its disk, or restart it',
    })
  })

  it('tries a builtin and a local build on builders of a queue runner', async () => {
    const fetched = coded(
      `Derive([("out","/nix/store/1-x","","")],[],[],"builtin","builtin:fetchurl",[],[("preferLocalBuild","1")])`,
    )
    const tried: string[] = []
    const asked = place(
      {
        facts: {
          derivation: fetched,
          'max-jobs': '1',
          file: `${coded('nix@b1 x86_64-linux - 1 1 kvm,local local')} /etc/hydra/machines`,
        },
        builds: { 'hydra-queue-runner own nix@b1': '' },
      },
      { decider: 'queue runner' },
    )
    const { shell } = asked
    const script: typeof shell.script = (text, args, options) => {
      tried.push(...(text.match(/^(?:system|line)=.*$/gm) ?? []))
      return shell.script(text, args, options)
    }
    const why = await whyNotBuilt({ ...asked, shell: { ...shell, script } }, path, taskRun())
    expect(why).toMatchObject({ kind: 'free', system: 'builtin' })
    // The line requires the feature local, which no derivation can require from Nix.
    expect(tried).toEqual(["line='nix@b1 x86_64-linux - 1 1 kvm,local -'", 'system=x86_64-linux'])
  })

  it.each(['ssh://localhost', 'ssh-ng://localhost'])(
    'tries %s by the own daemon of a queue runner, and mentions earlier Hydras',
    async (name) => {
      const why = await whyNotBuilt(
        place(
          {
            facts: { file: `${coded(`${name} x86_64-linux - 1`)} /etc/hydra/machines` },
            builds: { [`hydra-queue-runner itself ${name}`]: '' },
          },
          { decider: 'queue runner' },
        ),
        path,
        taskRun(),
      )
      expect(why).toMatchObject({
        kind: 'free',
        also: [
          `builder ${name}: a Hydra before September 2022 waits there for its own lock; name the builder 'localhost'`,
        ],
      })
    },
  )

  it('names the key that ssh names where a line names none', async () => {
    const asked = place(
      {
        facts: machinesFile('ssh://nix@b1 x86_64-linux'),
        builds: { ' daemon ssh://nix@b1': 'Load key "/home/alice/.ssh/id_rsa": invalid format' },
      },
      { user: 'root' },
    )
    expect(await whyNotBuilt(asked, path, taskRun())).toMatchObject({
      cause: 'the key /home/alice/.ssh/id_rsa is missing or not a private key',
    })
  })

  it('ends with the connection, and not with a cause of the builder', async () => {
    const lost = failure('CONNECTION_LOST', 'the connection was lost')
    const answers = {
      facts: machinesFile('ssh://nix@b1 x86_64-linux'),
      builds: { ' daemon ssh://nix@b1': lost },
    }
    await expect(whyNotBuilt(place(answers), path, taskRun())).rejects.toBe(lost)
  })

  it('is answered by the missing trust of a user whose builders the daemon ignores', async () => {
    const facts = {
      builders: '',
      'user-builders': 'ssh://nix@b1 x86_64-linux',
      'trusted-users': 'root @wheel',
      user: 'alice',
      group: 'users',
    }
    const here = { root: false, where: 'this host' }
    const why = await whyNotBuilt(place({ facts, builds: {} }, here), path, taskRun())
    expect(why).toMatchObject({ kind: 'ignored', line: 'the setting builders:1: ssh://nix@b1 x86_64-linux' })
    const trusted = { ...facts, group: 'wheel' }
    const builds = { ' daemon ssh://nix@b1': '' }
    expect(await whyNotBuilt(place({ facts: trusted, builds }, here), path, taskRun())).toMatchObject({
      kind: 'free',
    })
  })

  it('is refused for a Hydra that connects to no builder', async () => {
    const answers = { facts: { gateway: 'yes' }, builds: {} }
    await expect(
      whyNotBuilt(place(answers, { decider: 'queue runner' }), path, taskRun()),
    ).rejects.toMatchObject({
      code: 'BUILD_MACHINES',
      message: "the Hydra of machine 'ci' connects to no builder; its builders connect to Hydra",
      hint: 'hydra-ops hydra status shows its queue and its builders',
    })
  })
})
