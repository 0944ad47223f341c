import { createHash } from 'node:crypto'
import { DebianMachine, type MachineDefinition, type NetworkDefinition } from '../../src/core/definition.js'
import { StorePath } from '../../src/core/names.js'
import { FakeConfig } from './fake-provider.js'

type Input<T> = { [K in keyof T]?: unknown }

/** Returns a valid store path that depends only on the name. */
export function fakeStorePath(name: string): StorePath {
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 32)
  return StorePath.parse(`/nix/store/${hash}-${name.replaceAll(/[^\w+.?=-]/g, '-')}`)
}

/**
 * Creates a machine of the fake provider, as an evaluation describes it. `deployment` has the common options, and
 * `fake` has the provider's options. Another `version` gives another closure.
 */
export function fakeMachine(
  name: string,
  given: {
    readonly deployment?: Input<DebianMachine['options']>
    readonly fake?: Input<FakeConfig>
    readonly version?: string
    readonly rest?: Partial<DebianMachine>
  } = {},
): DebianMachine {
  const closure = `${name}-${given.version ?? 'v1'}`
  return {
    ...DebianMachine.parse({
      os: 'debian',
      name,
      options: { targetEnv: 'fake', ...given.deployment },
      providerName: 'fake',
      provider: FakeConfig.parse(given.fake ?? {}),
      drvPath: fakeStorePath(`${closure}.drv`),
      outPath: fakeStorePath(closure),
      files: {},
      units: {},
      packageCount: 0,
      hasActivate: false,
      origins: {},
    }),
    ...given.rest,
  }
}

export function fakeNetwork(
  machines: readonly MachineDefinition[],
  rest: Partial<Omit<NetworkDefinition, 'machines'>> = {},
): NetworkDefinition {
  return {
    name: undefined,
    description: undefined,
    ordering: [],
    ...rest,
    machines: new Map(machines.map((machine) => [machine.name, machine])),
  }
}
