import { describe, expect, it } from 'vitest'
import { createSshProvider } from '../../../providers/ssh/index.js'
import type { SshResource } from '../../../providers/ssh/target.js'
import { bindProvider } from '../../../src/core/bind-provider.js'
import { failure, unreachable } from '../../../src/core/errors.js'
import { DeploymentUuid, MachineName } from '../../../src/core/names.js'
import type { Run } from '../../../src/core/run.js'
import type { LoginRequest, SshTarget, UserSshConfig } from '../../../src/core/ssh.js'

const run = { signal: new AbortController().signal, log: () => {} }
const machine = MachineName.parse('web')

const userConfig: UserSshConfig = {
  hostName: '192.0.2.7',
  port: 2222,
  user: 'deploy',
  identityFiles: ['/home/me/.ssh/id_ed25519'],
  certificateFiles: ['/home/me/.ssh/deploy-cert.pub'],
  identitiesOnly: true,
  jump: 'gate',
  proxyCommand: undefined,
  useAgent: true,
  agentSocket: '/run/agent',
}

/** Creates an ssh layer with the given answers, which records its calls. */
function fakeSsh(
  answers: { config?: Partial<UserSshConfig>; banner?: Error; configError?: Error; showing?: string[] } = {},
) {
  const asked: string[] = []
  const wishes: LoginRequest[] = []
  const looked: SshTarget[] = []
  const keyed: string[] = []
  return {
    asked,
    wishes,
    looked,
    keyed,
    resolveUserConfig: async (host: string, _run: Run, wish: LoginRequest) => {
      asked.push(host)
      wishes.push(wish)
      if (answers.configError !== undefined) throw answers.configError
      const { user = userConfig.user, port = userConfig.port } = wish
      return { ...userConfig, user, port, ...answers.config }
    },
    showsKey: async (target: SshTarget) => {
      keyed.push(target.askedHost ?? '')
      return answers.showing?.includes(target.askedHost ?? '') ?? false
    },
    waitForBanner: async (target: SshTarget) => {
      looked.push(target)
      if (answers.banner !== undefined) throw answers.banner
    },
  }
}

function resource(
  changes: Partial<SshResource> = {},
  target: Partial<SshResource['target']> = {},
): SshResource {
  return {
    deployment: {
      uuid: DeploymentUuid.parse('0b6ee60e-3a3f-4f0a-8d3c-6a3d2a1b9c11'),
      name: 'lab',
    },
    machine,
    name: 'hydra-ops-web',
    index: 1,
    config: {},
    allocation: {},
    handle: undefined,
    identity: undefined,
    image: undefined,
    disks: '/state/disks/web',
    console: '/state/console/web.log',
    hostKey: undefined,
    target: {
      host: undefined,
      port: undefined,
      user: undefined,
      hostKey: undefined,
      sshOptions: [],
      privilegeEscalation: ['sudo', '-H', '--'],
      ...target,
    },
    ...changes,
  }
}

describe('the address of a host', () => {
  it('comes from the user’s ssh configuration, by the machine’s name', async () => {
    const ssh = fakeSsh()
    const target = await createSshProvider({ ssh }).target(resource(), run)
    expect(ssh.asked).toEqual(['web'])
    expect(target).toEqual({
      machine,
      host: '192.0.2.7',
      askedHost: 'web',
      port: 2222,
      user: 'deploy',
      hostKey: undefined,
      identityFiles: ['/home/me/.ssh/id_ed25519'],
      certificateFiles: ['/home/me/.ssh/deploy-cert.pub'],
      identitiesOnly: true,
      useAgent: true,
      agentSocket: '/run/agent',
      existingHost: true,
      jump: 'gate',
      proxyCommand: undefined,
      sshOptions: [],
      privilegeEscalation: ['sudo', '-H', '--'],
    })
  })

  it('comes from the expression before the configuration', async () => {
    const ssh = fakeSsh()
    const wanted = { host: 'web.example.org', port: 22, user: 'admin', sshOptions: ['-C'] }
    const target = await createSshProvider({ ssh }).target(resource({}, wanted), run)
    expect(ssh.asked).toEqual(['web.example.org'])
    expect(ssh.wishes).toMatchObject([{ user: 'admin', port: 22, sshOptions: ['-C'] }])
    expect(target).toMatchObject({ host: '192.0.2.7', port: 22, user: 'admin', sshOptions: ['-C'] })
  })

  it('is the first of several that shows the known host key', async () => {
    const wanted = { host: 'a', hosts: ['a', 'b', 'c'] }
    const ssh = fakeSsh({ showing: ['b', 'c'] })
    expect((await createSshProvider({ ssh }).target(resource({}, wanted), run)).askedHost).toBe('b')
    expect(ssh.keyed).toEqual(['a', 'b'])
  })

  it('stays the first one if none of several shows the known host key', async () => {
    const ssh = fakeSsh({ showing: [] })
    const wanted = { host: 'a', hosts: ['a', 'b'] }
    expect((await createSshProvider({ ssh }).target(resource({}, wanted), run)).askedHost).toBe('a')
    expect(ssh.keyed).toEqual(['a', 'b'])
  })

  it('costs no connection where there is only one', async () => {
    const ssh = fakeSsh()
    await createSshProvider({ ssh }).target(resource({}, { host: 'a', hosts: undefined }), run)
    expect(ssh.keyed).toEqual([])
  })

  it('has the recorded host key, unless the expression names another', async () => {
    const provider = createSshProvider({ ssh: fakeSsh() })
    const recorded = { hostKey: 'ssh-ed25519 recorded' }
    expect((await provider.target(resource(recorded), run)).hostKey).toBe('ssh-ed25519 recorded')
    expect((await provider.target(resource(recorded, { hostKey: 'ssh-ed25519 new' }), run)).hostKey).toBe(
      'ssh-ed25519 new',
    )
  })

  it('is shown by the name in the expression', () => {
    const provider = createSshProvider({ ssh: fakeSsh() })
    expect(provider.resourceId(resource())).toBe('web')
    expect(provider.resourceId(resource({}, { host: '192.0.2.1' }))).toBe('192.0.2.1')
  })
})

describe('an existing host', () => {
  it('is running when it shows a banner', async () => {
    expect(await createSshProvider({ ssh: fakeSsh() }).inspect(resource(), run)).toEqual({ kind: 'running' })
  })

  it('is unknown, with the reason, when it shows no banner or cannot even be looked for', async () => {
    const silent = createSshProvider({ ssh: fakeSsh({ banner: unreachable('web', 'port closed') }) })
    expect(await silent.inspect(resource(), run)).toEqual({ kind: 'unknown', reason: 'port closed' })
    const broken = createSshProvider({ ssh: fakeSsh({ configError: failure('SSH_CONFIG', 'line 3') }) })
    expect(await broken.inspect(resource(), run)).toEqual({ kind: 'unknown', reason: 'line 3' })
  })

  it('is not mistaken for unknown when our own code fails', async () => {
    const provider = createSshProvider({ ssh: fakeSsh({ banner: new TypeError('a bug') }) })
    await expect(provider.inspect(resource(), run)).rejects.toThrow('a bug')
  })

  it('needs no resource, and nothing is planned', async () => {
    const provider = createSshProvider({ ssh: fakeSsh() })
    const kept: unknown[] = []
    const handle = await provider.reconcile(
      resource(),
      {
        allowRestart: false,
        allowRecreate: false,
        checkpoint: async (each) => {
          kept.push(each)
        },
      },
      run,
    )
    expect(handle).toEqual({})
    expect(kept).toEqual([{}])
    expect(await provider.plan(resource(), run)).toEqual([])
  })

  it('is not started by us: an error reports that it does not answer', async () => {
    await expect(createSshProvider({ ssh: fakeSsh() }).start(resource(), run)).resolves.toBeUndefined()
    const down = createSshProvider({ ssh: fakeSsh({ banner: unreachable('web', 'no answer') }) })
    await expect(down.start(resource(), run)).rejects.toMatchObject({
      exitCode: 4,
      message: 'no answer',
      hint: expect.stringContaining('cannot switch it on'),
    })
  })

  it('is not stopped by us', async () => {
    const provider = createSshProvider({ ssh: fakeSsh() })
    await expect(provider.stop(resource(), { graceMs: 1 }, run)).rejects.toMatchObject({
      exitCode: 1,
      hint: 'hydra-ops ssh web -- systemctl poweroff switches the host off',
    })
  })

  it('is forgotten without being touched', async () => {
    const ssh = fakeSsh()
    await createSshProvider({ ssh }).destroy(resource(), run)
    expect(ssh.asked).toEqual([])
    expect(ssh.looked).toEqual([])
  })
})

describe('the list of options of the provider ssh', () => {
  it('is empty, and every option is refused', () => {
    const bound = bindProvider(createSshProvider({ ssh: fakeSsh() }))
    expect(bound.imageReference({})).toBeUndefined()
    expect(() => bound.imageReference({ memorySize: 1 })).toThrow('options of provider ssh')
  })
})

describe('doctor for the provider ssh', () => {
  it('finds an ssh configuration that cannot be read, with the remedy', async () => {
    const good = await createSshProvider({ ssh: fakeSsh() }).doctor?.(run)
    expect(good).toEqual([expect.objectContaining({ id: 'ssh.config', level: 'ok' })])
    const configError = failure('SSH_CONFIG', 'cannot read it', { detail: 'config line 8: bad' })
    const bad = await createSshProvider({ ssh: fakeSsh({ configError }) }).doctor?.(run)
    expect(bad).toEqual([
      {
        id: 'ssh.config',
        level: 'problem',
        what: 'the ssh configuration cannot be read: cannot read it (config line 8: bad)',
        mend: expect.stringContaining('ssh -G'),
      },
    ])
  })
})
