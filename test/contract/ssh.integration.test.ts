import { randomUUID } from 'node:crypto'
import { createSshProvider } from '../../providers/ssh/index.js'
import type { SshResource } from '../../providers/ssh/target.js'
import { DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import { startSshd } from '../fixtures/sshd.js'
import { never, testSsh, userSshConfig } from '../fixtures/sshd-session.js'
import { providerContract } from './provider-contract.js'

const soon = { signal: never, timeoutMs: 30_000 }
let count = 0

providerContract('ssh', {
  makesMachines: false,
  open: async () => {
    const sshd = await startSshd()
    const user = userSshConfig(`Host existing\n  HostName 127.0.0.1\n  Port ${sshd.port}\n`)
    const makeResource = async (overrides: Partial<SshResource> = {}): Promise<SshResource> => {
      count += 1
      const uuid = DeploymentUuid.parse(randomUUID())
      const machine = MachineName.parse(`existing${count}`)
      return {
        deployment: { uuid, name: 'contract' },
        machine,
        name: resourceName(uuid, machine),
        index: 1,
        config: {},
        allocation: {},
        handle: undefined,
        identity: undefined,
        image: undefined,
        disks: '/nonexistent',
        console: '/nonexistent',
        hostKey: sshd.hostKey,
        target: {
          host: 'existing',
          port: undefined,
          user: undefined,
          hostKey: undefined,
          sshOptions: [],
          privilegeEscalation: ['sudo', '-H', '--'],
        },
        ...overrides,
      }
    }
    return {
      provider: createSshProvider({ ssh: testSsh({ env: user.env }) }),
      run: { signal: never, log: () => {} },
      configExamples: [{}],
      makeResource,
      // The only object is the host itself, which must keep answering.
      listing: async () => ((await testSsh().probe(sshd.target(), soon)) ? ['the host'] : []),
      cleanup: async () => {
        await sshd.stop()
        user.remove()
      },
    }
  },
})
