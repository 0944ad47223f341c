import { describe, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import type { PeerMachine, TaskMachine } from '../../../src/core/setup-task.js'
import { bindTask } from '../../../src/core/setup-task.js'
import { authorizedKeys, builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { builderUse, usesDaemonBuilders } from '../../../src/setup/builders/relations.js'
import { nixTask } from '../../../src/setup/nix.js'
import { b1Offer, peer, peersOffering } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskMachine } from '../../fakes/task-run.js'

const web = MachineName.parse('web')
const b1 = MachineName.parse('b1')
const publicKey = 'ssh-ed25519 AAAAKEY'

function machine(options: Record<string, unknown> = {}, more: Partial<TaskMachine> = {}): TaskMachine {
  return { ...taskMachine(options), ...more }
}

/** A peer whose definition offers the machine to some others. */
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
    expect(authorizedKeys([{ machine: ci, publicKey }])).toContain(
      `\nrestrict,command="nix-store --serve --write" ${publicKey} hydra-ops:ci\n`,
    )
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
