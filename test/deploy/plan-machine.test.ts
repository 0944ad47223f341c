import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { deploy } from '../../src/deploy/deploy.js'
import { dryRunSession } from '../../src/machine/session.js'
import { surveyDebian } from '../../src/systems/debian/survey.js'
import { keyedHash } from '../../src/tasks/keyed-hash.js'
import { fakeMachine, fakeNetwork, fakeStorePath } from '../fakes/fake-network.js'
import { succeed, surveyOf } from '../fakes/fake-ssh.js'
import { connectFake, recordingRun } from '../fakes/fake-target.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'
import { type Deployed, deployed } from '../operations/deployed.js'

let world: Deployed

beforeEach(async () => {
  world = await deployed()
})
afterEach(() => world.ops.cleanup())

/** Returns the plan of `web` as words. */
async function planOf(...machines: MachineDefinition[]): Promise<string[]> {
  world.ops.nix.network = fakeNetwork(machines)
  const request = { ...standardRequest, deployment: undefined, selection: { on: 'web' }, dryRun: true }
  const { plan } = await deploy(world.ops, request)
  const [web] = plan.machines
  return (web?.items ?? []).map(({ subject, action, detail }) => `${subject} ${action} ${detail}`)
}

describe('packages that the deployment installed and now drops', () => {
  const has = (apt: string) =>
    world.ops.ssh.answer('read the facts of the machine', surveyOf({ profile: fakeStorePath('web-v1'), apt }))
  const wants = (version: string, ...aptPackages: string[]) =>
    fakeMachine('web', { version, deployment: { aptPackages } })

  it('are in the plan of the deploy that removes them', async () => {
    world.ops.ssh.answer('read which packages are installed', succeed('ii |jq|1.6|\n'))
    has('curl htop jq ')
    expect(await planOf(wants('v2', 'jq=1.6'))).toContain('packages remove curl, htop')
    expect((await planOf(wants('v2', 'jq', 'curl', 'htop'))).join()).not.toContain('packages remove')
  })

  it('are not announced by a deploy that activates nothing', async () => {
    has('curl ')
    expect(await planOf(wants('v1'))).toEqual([])
  })

  it('are read from the machine’s own record', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer('read the facts of the machine', surveyOf({ apt: 'curl jq ' }))
    expect((await surveyDebian(host, recordingRun())).installedByUs).toEqual(['curl', 'jq'])
    ssh.answer('read the facts of the machine', surveyOf({ apt: '' }))
    expect((await surveyDebian(host, recordingRun())).installedByUs).toEqual([])
  })
})

describe('a machine that is stopped', () => {
  const keys = { lasting: { text: 'x', destDir: '/etc/keys' }, passing: { text: 'x' } }
  const wants = (version: string, more: object = {}) =>
    fakeMachine('web', { version, deployment: { keys, aptPackages: ['jq'], ...more } })

  beforeEach(async () => {
    const { ops } = world
    Object.assign(ops, { tasks: async () => [fakeTask('ran'), fakeTask('new')] })
    const record = await ops.store.resolve(undefined)
    const hash = await keyedHash(dryRunSession(ops.files, record), ops.secrets.of(record.uuid))
    const inputs = hash('{}')
    await world.change('web', {
      keys: { lasting: '/etc/keys/lasting', passing: '/run/keys/passing', dropped: '/etc/keys/dropped' },
      tasks: { ran: { inputs, outputs: {}, at: '2026-01-02T03:04:05Z' } },
    })
    ops.hypervisor.stop(world.resourceName('web'))
  })

  it('is planned from its record', async () => {
    expect(await planOf(wants('v1'))).toEqual([
      'machine start currently stopped',
      'setup run new',
      'keys add passing',
      'keys remove dropped',
    ])
  })

  it('gets a changed closure, and every change named in it', async () => {
    const items = await planOf(wants('v2'))
    expect(items).toContainEqual(expect.stringMatching(/^closure (build|copy)/))
    expect(items).toContain('packages add jq')
    expect(items).not.toContain('setup run ran')
  })

  it('needs everything anew once it is gone', async () => {
    world.ops.hypervisor.undefine(world.resourceName('web'))
    world.ops.hypervisor.removeDisk(world.resourceName('web'))
    const items = await planOf(wants('v1'))
    expect(items).toEqual(
      expect.arrayContaining([
        'packages add jq',
        'setup run ran',
        'setup run new',
        'keys add lasting, passing',
      ]),
    )
    expect(items.join()).toContain('closure copy')
  })
})
