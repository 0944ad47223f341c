import { readlinkSync, symlinkSync } from 'node:fs'
import { expect } from 'vitest'
import { ScratchMachine, type WantedMachine } from '../fakes/scratch-machine.js'

const machines: ScratchMachine[] = []

export function machine(): ScratchMachine {
  const made = new ScratchMachine()
  machines.push(made)
  return made
}

export function copyOf(other: ScratchMachine): ScratchMachine {
  const made = other.copy()
  machines.push(made)
  return made
}

/** Removes all machines; tests call this in afterEach. */
export function disposeMachines(): void {
  for (const each of machines.splice(0)) each.dispose()
}

/** Activates a closure, which must succeed; returns the output. */
export function deploy(on: ScratchMachine, wanted: WantedMachine, ...args: string[]): string {
  const closure = on.closure(wanted)
  const result = on.activate(closure, ...args)
  expect(result).toMatchObject({ code: 0, stderr: '' })
  expect(readlinkSync(on.path('/nix/var/nix/profiles/hydra-ops'))).toBe(closure)
  return result.output
}

export function spawnLink(m: ScratchMachine, path: string, target: string): void {
  m.remove(path)
  symlinkSync(target, m.path(path))
}
