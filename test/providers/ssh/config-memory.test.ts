import { describe, expect, it } from 'vitest'
import { rememberConfig } from '../../../providers/ssh/config-memory.js'
import type { Run } from '../../../src/core/run.js'
import type { LoginRequest, UserSshConfig } from '../../../src/core/ssh.js'

const login: LoginRequest = { user: undefined, port: undefined, sshOptions: [] }

/** Creates the function under test, with a counter of processes, a clock, and a switch for failures. */
function asking() {
  const world = { asked: [] as string[], clock: 0, broken: false }
  const ask = rememberConfig(
    async (host) => {
      world.asked.push(host)
      if (world.broken) throw new Error('no ssh')
      return configOf(host)
    },
    () => world.clock,
  )
  return { world, ask }
}

function configOf(hostName: string): UserSshConfig {
  return {
    hostName,
    port: 22,
    user: 'root',
    identityFiles: [],
    certificateFiles: [],
    identitiesOnly: false,
    useAgent: false,
    agentSocket: undefined,
    jump: undefined,
    proxyCommand: undefined,
  }
}

function newRun(): Run {
  return { signal: new AbortController().signal, log: () => {} }
}

describe('the configuration of a host', () => {
  it('is asked once for a look and for the login that follows', async () => {
    const { world, ask } = asking()
    const run = newRun()
    expect(await ask('web', run, login)).toEqual(configOf('web'))
    world.clock += 9_999
    expect(await ask('web', run, { ...login })).toEqual(configOf('web'))
    expect(world.asked).toEqual(['web'])
  })

  it('is asked again later, because the user may have changed the file', async () => {
    const { world, ask } = asking()
    const run = newRun()
    await ask('web', run, login)
    world.clock += 10_000
    await ask('web', run, login)
    expect(world.asked).toEqual(['web', 'web'])
  })

  it('is asked for each run, each host and each login', async () => {
    const { world, ask } = asking()
    const run = newRun()
    await ask('web', run, login)
    await ask('web', newRun(), login)
    await ask('db', run, login)
    await ask('web', run, { ...login, port: 2222 })
    await ask('web', run, { ...login, user: 'admin' })
    await ask('web', run, { ...login, sshOptions: ['-o', 'Port=23'] })
    expect(world.asked).toEqual(['web', 'web', 'db', 'web', 'web', 'web'])
  })

  it('is asked again after a failure', async () => {
    const { world, ask } = asking()
    const run = newRun()
    world.broken = true
    await expect(ask('web', run, login)).rejects.toThrow('no ssh')
    world.broken = false
    expect(await ask('web', run, login)).toEqual(configOf('web'))
    expect(world.asked).toHaveLength(2)
  })
})
