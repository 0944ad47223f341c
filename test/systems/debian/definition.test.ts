import { expect, it } from 'vitest'
import { setupTasks } from '../../../src/setup/tasks.js'
import { debianDefinition } from '../../../src/systems/debian/definition.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { nixosMachine } from '../../fakes/nixos-machine.js'

it('code for Debian gets the definition of a Debian machine, and no other', () => {
  const machine = debianMachine()
  expect(debianDefinition(machine)).toBe(machine)
  expect(() => debianDefinition(nixosMachine())).toThrow(
    `machine 'web' is not a Debian machine; deployment.os is "nixos"`,
  )
})

it('no set-up task is wanted on a NixOS machine, but some are on a Debian machine', () => {
  const wanted = (definition: ReturnType<typeof nixosMachine>) =>
    setupTasks.flatMap(
      (bind) => bind({ definition, deployment: 'lab', publishedPort: () => undefined })?.id ?? [],
    )
  expect(wanted(debianMachine())).toContain('nix')
  expect(wanted(nixosMachine())).toEqual([])
})
