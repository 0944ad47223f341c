import { describe, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import type { PeerMachine, TaskMachine } from '../../../src/core/setup-task.js'
import { bindTask } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { authorizedKeys } from '../../../src/setup/builders/account.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderCacheTask } from '../../../src/setup/builders/cache-task.js'
import { cachesSettings, substituter } from '../../../src/setup/builders/caches-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { builderUse, cacheUse, usesDaemonBuilders } from '../../../src/setup/builders/relations.js'
import { nixTask } from '../../../src/setup/nix.js'
import { b1Cache, b1Offer, peer, peersOffering } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'

const web = MachineName.parse('web')
const b1 = MachineName.parse('b1')
const publicKey = 'ssh-ed25519 AAAAKEY'

function machine(options: Record<string, unknown> = {}, more: Partial<TaskMachine> = {}): TaskMachine {
  return { ...taskMachine(options), ...more }
}

/** Creates a peer whose definition offers the machine to some other machines. */
function defined(builder: Record<string, unknown>, more: Partial<PeerMachine> = {}): PeerMachine {
  return peer({ definition: debianMachine({ builder }), ...more })
}

const offered = { builder: { user: 'nix-builder', for: 'web', entry: b1Offer } }

describe('the builders of a machine', () => {
  it('are those whose definition, or else whose last offer, names the machine', () => {
    const use = (each: PeerMachine) => builderUse(machine({}, { peers: new Map([[b1, each]]) }))
    expect(use(peer({ outputs: offered }))?.builders).toMatchObject([
      { machine: 'b1', host: 'b1', maxJobs: 4 },
    ])
    expect(use(defined({ enable: true, for: ['web'] }, { outputs: offered }))?.builders).toHaveLength(1)
    // The definition is newer than the state.
    expect(use(defined({ enable: true, for: ['other'] }, { outputs: offered }))).toBeUndefined()
    expect(use(defined({ enable: false, for: ['web'] }, { outputs: offered }))).toBeUndefined()
    expect(use(peer({ outputs: { builder: { ...offered.builder, for: 'web2,other' } } }))).toBeUndefined()
  })

  it('never hold the machine itself', () => {
    const self = machine({}, { peers: new Map([[web, defined({ enable: true, for: ['web'] })]]) })
    expect(self.definition.name).toBe('web')
    expect(builderUse(self)).toBeUndefined()
  })

  it('no longer hold a machine that left the network', () => {
    const peers = new Map([[b1, peer({ outputs: offered, obsolete: true })]])
    expect(builderUse(machine({}, { peers }))).toBeUndefined()
  })

  it('are awaited before their first deploy, and while their host key is unknown', () => {
    const use = (each: PeerMachine) => builderUse(machine({}, { peers: new Map([[b1, each]]) }))
    const builder = { enable: true, for: ['web'] }
    expect(use(defined(builder))).toMatchObject({ builders: [], awaited: ['b1'] })
    expect(use(defined(builder, { outputs: offered, hostKey: undefined }))).toMatchObject({ awaited: ['b1'] })
  })

  it('are wanted once more after the last one left, so that their traces go', () => {
    const left = { outputs: { builders: { builders: 'b1' } }, peers: new Map() }
    expect(builderUse(machine({}, left))).toMatchObject({ builders: [], awaited: [] })
    expect(bindTask(buildersTask)(machine({}, left))).toBeDefined()
    expect(bindTask(builderKeyTask)(machine({}, left))).toBeUndefined()
    expect(builderUse(machine({}, { ...left, outputs: { builders: { builders: '' } } }))).toBeUndefined()
  })

  it('belong to the queue runner of a Hydra, and else to the Nix daemon', () => {
    const peers = peersOffering(web)
    expect(builderUse(machine({ hydra: { enable: true } }, { peers }))).toMatchObject({
      reader: 'queue runner',
      key: { user: 'hydra-queue-runner' },
    })
    expect(builderUse(machine({}, { peers }))).toMatchObject({ reader: 'daemon', key: { user: 'root' } })
    expect(usesDaemonBuilders(machine({ hydra: { enable: true } }, { peers }))).toBe(false)
  })
})

describe('a builder with another user than before', () => {
  it('is refused before any change, because the old user could still log in', async () => {
    const options = { builder: { enable: true, for: ['ci'], sshUser: 'other' } }
    const before = { builder: { user: 'nix-builder', for: 'ci', entry: b1Offer } }
    const task = bindTask(builderTask)(machine(options, { outputs: before }))
    const host = { machine: web, script: () => Promise.reject(new Error('nothing may run')) }
    await expect(task?.apply(host as unknown as Host, taskRun())).rejects.toMatchObject({
      code: 'BUILDER_USER',
      message:
        "machine 'web': other machines log in as user 'nix-builder', and deployment.builder.sshUser names 'other'",
      hint: expect.stringContaining('deploy once without deployment.builder'),
    })
  })
})

describe('the caches of a machine', () => {
  const caching = { enable: true, for: ['web'], cache: { enable: true } }
  const outputs = { ...offered, 'builder-cache': b1Cache }
  const use = (each: PeerMachine, more: Partial<TaskMachine> = {}) =>
    cacheUse(machine({}, { peers: new Map([[b1, each]]), ...more }))

  it('are those of its builders whose definition, or else whose last deploy, has one', () => {
    expect(use(defined(caching, { outputs }))?.caches).toMatchObject([{ machine: 'b1', ...b1Cache }])
    expect(use(peer({ outputs }))?.caches).toHaveLength(1)
    expect(use(peer({ outputs: offered }))).toBeUndefined()
    expect(use(defined({ ...caching, cache: {} }, { outputs }))).toBeUndefined()
    expect(use(defined({ ...caching, for: ['other'] }, { outputs }))).toBeUndefined()
    expect(use(peer({ outputs, obsolete: true }))).toBeUndefined()
  })

  it('are awaited before the builder made its key, so that Nix includes their settings from the beginning', () => {
    const awaiting = defined(caching, { outputs: offered })
    expect(use(awaiting)).toMatchObject({ caches: [], awaited: ['b1'] })
    const nix = bindTask(nixTask)(machine({}, { peers: new Map([[b1, awaiting]]) }))
    expect(nix?.inputs).toContain('/etc/nix/hydra-ops-caches.conf')
  })

  it('are wanted once more after the last one left, so that their traces go', () => {
    const gone = { 'builder-caches': { caches: 'b1' } }
    expect(use(peer(), { outputs: gone })).toMatchObject({ caches: [], awaited: [] })
    expect(use(peer(), { outputs: { 'builder-caches': { caches: '' } } })).toBeUndefined()
    expect(bindTask(nixTask)(machine({}, { outputs: gone }))?.inputs).not.toContain('caches.conf')
  })

  it('have an address that names key and host key, and no character that ends a setting', () => {
    const known = use(peer({ outputs }))
    const [cache] = known?.caches ?? []
    if (known === undefined || cache === undefined) throw new Error('there is no cache')
    expect(substituter(known, cache)).toMatch(
      /^ssh-ng:\/\/nix-cache@b1\?priority=50&ssh-key=\/etc\/nix\/hydra-ops-builders\/key&base64-ssh-public-host-key=[A-Za-z0-9%]+$/,
    )
    expect(cachesSettings(known)).toContain(
      `\nextra-trusted-public-keys = ${b1Cache.publicKey}\nfallback = true\n`,
    )
  })
})

describe('the cache of a builder', () => {
  const bind = bindTask(builderCacheTask)
  const outputs = { 'builder-cache': b1Cache }

  it('is wanted with a builder that has one, and goes last and once', () => {
    const builder = { enable: true, for: ['ci'], cache: { enable: true } }
    expect(bind(machine({ builder }))).toMatchObject({ stage: 'offer', irreplaceable: expect.any(String) })
    expect(bind(machine({ builder: { ...builder, cache: {} } }))).toBeUndefined()
    expect(bind(machine({}, { outputs }))?.stage).toBe('withdraw')
    expect(bind(machine({}, { outputs: { 'builder-cache': { publicKey: '', sample: '' } } }))).toBeUndefined()
  })

  it('has an account of its own, which the daemon must not trust', () => {
    const sshUser = { enable: true, for: ['ci'], sshUser: 'nix-cache' }
    expect(() => machine({ builder: sshUser })).toThrow("'nix-cache' is a user with other tasks")
    const builder = { enable: true, for: ['ci'], cache: { enable: true } }
    expect(bindTask(nixTask)(machine({ builder }))?.inputs).not.toContain('nix-cache')
  })
})

describe('the settings of Nix', () => {
  const inputs = (subject: TaskMachine) => bindTask(nixTask)(subject)?.inputs

  it('of a builder trust its user and offer its features', () => {
    const builder = {
      enable: true,
      for: ['ci'],
      supportedFeatures: ['big-parallel'],
      mandatoryFeatures: ['gpu'],
    }
    expect(JSON.parse(inputs(machine({ builder })) ?? '')).toMatchObject({
      trustedUsers: ['nix-builder'],
      builderFeatures: ['big-parallel', 'gpu'],
    })
  })

  it('stay as they are on a machine that has nothing to do with builders', () => {
    expect(inputs(machine())).toBe(inputs(machine({}, { peers: new Map([[b1, peer()]]) })))
    expect(inputs(machine())).not.toContain('builder')
  })
})

describe('the account for builds', () => {
  const builder = { enable: true, for: ['ci'] }
  const ci = MachineName.parse('ci')
  const bind = bindTask(builderTask)

  it('lets exactly the keys of its users in, and each of them only serve the store', () => {
    expect(
      authorizedKeys([{ machine: ci, publicKey }], { task: 'builder', command: 'nix-store --serve --write' }),
    ).toContain(`\nrestrict,command="nix-store --serve --write" ${publicKey} hydra-ops:ci\n`)
  })

  it('changes when the key of a user appears', () => {
    const without = bind(machine({ builder }, { peers: new Map([[ci, peer()]]) }))
    const withKey = bind(
      machine({ builder }, { peers: new Map([[ci, peer({ outputs: { 'builder-key': { publicKey } } })]]) }),
    )
    expect(withKey?.inputs).not.toBe(without?.inputs)
    expect(withKey?.inputs).toContain(publicKey)
    expect(withKey?.stage).toBe('offer')
  })

  it('lets the operator host in by its own key, alone or beside machines', () => {
    const inputs = (wanted: unknown, operatorKey?: string) =>
      bind({ ...machine({ builder: { enable: true, for: wanted } }), operatorKey })?.inputs ?? ''
    expect(inputs('operator', publicKey)).toContain(`{"machine":"operator","publicKey":"${publicKey}"}`)
    expect(inputs(['operator', 'ci'], publicKey)).toContain('"awaited":["ci"]')
    expect(inputs('operator')).toContain('"awaited":["operator"]')
  })

  it('lets the operator host read no cache, from which it does not fetch', () => {
    const builder = { enable: true, for: 'operator', cache: { enable: true } }
    const inputs = bindTask(builderCacheTask)({ ...machine({ builder }), operatorKey: publicKey })?.inputs
    expect(inputs).not.toContain(publicKey)
  })

  it('changes when the machine emulates another system', () => {
    const inputs = (options: Record<string, unknown>) => bind(machine({ builder, ...options }))?.inputs
    expect(inputs({ binfmt: { emulatedSystems: ['aarch64-linux'] } })).toContain('aarch64-linux')
    expect(inputs({})).not.toContain('aarch64-linux')
  })

  it('is removed last, after its users forgot the builder, and once', () => {
    const outputs = { builder: { user: 'nix-builder', for: 'ci', entry: b1Offer } }
    expect(bind(machine({}, { outputs }))?.stage).toBe('withdraw')
    expect(bind(machine({}, { outputs: { builder: { user: '', for: '', entry: '' } } }))).toBeUndefined()
    expect(bind(machine())).toBeUndefined()
  })
})
