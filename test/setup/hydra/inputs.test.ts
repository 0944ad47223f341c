import { describe, expect, it } from 'vitest'
import { bindTask, type SetupTask } from '../../../src/core/setup-task.js'
import { hydraProofTask } from '../../../src/setup/hydra/proof-task.js'
import { hydraTask } from '../../../src/setup/hydra/task.js'
import { adminUserTask } from '../../../src/setup/hydra/web-users-task.js'
import { nginxTask } from '../../../src/setup/nginx/task.js'
import { nixServeTask } from '../../../src/setup/nix-serve.js'
import { taskMachine } from '../../fakes/task-run.js'

const inputs = <Options>(task: SetupTask<Options>, hydra: Record<string, unknown>) =>
  bindTask(task)(taskMachine({ hydra: { enable: true, nginx: { enable: true }, ...hydra } }))?.inputs

const admin = (fullName: string) => ({
  admin: { userName: 'alice', fullName, password: { generate: true } },
  users: { bob: { fullName, password: { generate: true } } },
})

describe('a changed user of Hydra', () => {
  it('is a reason to run the task of users again, and no other task', () => {
    expect(inputs(adminUserTask, admin('A'))).not.toBe(inputs(adminUserTask, admin('B')))
    expect(inputs(hydraTask, admin('A'))).toBe(inputs(hydraTask, admin('B')))
    expect(inputs(nginxTask, admin('A'))).toBe(inputs(nginxTask, admin('B')))
    expect(inputs(hydraTask, { port: 3001 })).not.toBe(inputs(hydraTask, {}))
  })
})

describe('a change of an option', () => {
  const store = (letter: string) => `/nix/store/${letter.repeat(32)}-hydra`

  it.each<[string, Record<string, unknown>]>([
    ['a new package', { package: store('a') }],
    ['a further line of hydra.conf', { extraConfig: 'max_concurrent_evals = 2' }],
    ['a mail server', { smtpHost: 'mail.example.org' }],
    ['a signing key at another place', { cache: { secretKeyFile: '/etc/hydra/cache.sec' } }],
    ['another package of nix-serve', { nixServe: { package: store('b') } }],
    ['another database', { database: { name: 'ci' } }],
    ['a builder', { buildMachines: [{ hostName: 'b.example.org', systems: ['x86_64-linux'] }] }],
  ])('is not a reason to run nginx’ task again: %s', (_, hydra) => {
    expect(inputs(nginxTask, hydra)).toBe(inputs(nginxTask, {}))
  })

  it.each<[string, Record<string, unknown>]>([
    ['a further name', { nginx: { enable: true, serverAliases: ['ci.example.org'] } }],
    ['another port of Hydra', { port: 3001 }],
    ['another folder of the cache', { cache: { enable: true, directory: '/srv/cache' } }],
    ['another port of nix-serve', { nixServe: { enable: true, port: 5001 } }],
    ['the firewall', { openFirewall: true }],
  ])('is a reason to run nginx’ task again: %s', (_, hydra) => {
    expect(inputs(nginxTask, hydra)).not.toBe(inputs(nginxTask, {}))
  })

  it.each<[string, Record<string, unknown>]>([
    ['a name of the cache', { nginx: { enable: true, cacheHostName: 'cache.example.org' } }],
    ['another port of nix-serve', { nixServe: { port: 5001 } }],
    ['the firewall', { openFirewall: true }],
    ['the proof', { probe: false }],
    ['the garbage collector', { gc: { automatic: true } }],
    ['whom the daemon trusts', { trustedUsers: ['alice'] }],
  ])('is not a reason to start Hydra’s daemons again: %s', (_, hydra) => {
    expect(inputs(hydraTask, hydra)).toBe(inputs(hydraTask, {}))
  })

  it('is not a reason to run nix-serve and the proof again, which depend on their own options', () => {
    const more = { extraConfig: 'x = 1', nginx: { enable: true, serverAliases: ['ci.example.org'] } }
    expect(inputs(nixServeTask, { nixServe: { enable: true }, ...more })).toBe(
      inputs(nixServeTask, { nixServe: { enable: true } }),
    )
    expect(inputs(hydraProofTask, { ...admin('A'), ...more })).toBe(inputs(hydraProofTask, admin('A')))
  })
})
