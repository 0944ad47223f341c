import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createEvaluator } from '../../nix/evaluate.js'
import { createNixCommand } from '../../nix/nix-command.js'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { SshConfig } from '../../providers/ssh/config.js'
import { jsonSchema } from '../../src/core/json.js'
import { packageRoot } from '../../src/core/package-root.js'
import { localCommands } from '../../src/exec/local-commands.js'

const examples = join(packageRoot(), 'examples')
/** The examples without the provider, which test/package installs before it evaluates the provider's network. */
const networks = readdirSync(examples).filter((name) => name !== 'provider')

it.each(networks)('the example %s evaluates', async (name) => {
  const command = createNixCommand({
    local: localCommands,
    stateRoot: '/nonexistent',
    env: { NIX_REMOTE: '/nonexistent/nix', NIX_CONFIG: 'substituters =' },
  })
  const evaluate = createEvaluator({
    command,
    providers: [
      {
        name: 'libvirt',
        targetEnvs: ['libvirtd'],
        optionKey: 'libvirtd',
        configSchema: LibvirtConfig.transform((config) => jsonSchema.parse(config)),
      },
      {
        name: 'ssh',
        targetEnvs: ['none', 'ssh'],
        optionKey: undefined,
        configSchema: SshConfig.transform((config) => jsonSchema.parse(config)),
      },
    ],
  })
  const network = await evaluate(
    {
      files: [join(examples, name, 'network.nix')],
      searchPath: [],
      // Each example takes the arguments that it names.
      args: { host: '"192.0.2.7"' },
      deployment: { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'example' },
      physical: {},
      mode: 'read',
      flags: { showTrace: false, options: [] },
    },
    { signal: new AbortController().signal, log: () => {} },
  )
  expect(network.machines.size).toBeGreaterThan(0)
  for (const machine of network.machines.values()) expect(machine.drvPath).toMatch(/^\/nix\/store\/.*\.drv$/)
})
