import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentUuid, StorePath } from '../../../src/core/names.js'
import { targetScript } from '../../../src/remote/target-scripts.js'
import { prepareScript, usualBootTimes } from '../../../src/systems/nixos/boot-once.js'
import { nixosActivation } from '../../../src/systems/nixos/places.js'
import { beginValues, usualTimes } from '../../../src/systems/nixos/steps.js'
import { cuts, deaths } from './script-places.js'
import { type Place, putBefore } from './stopping.js'

const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const old = StorePath.parse(`/nix/store/${'a'.repeat(32)}-nixos-system-old`)
const next = StorePath.parse(`/nix/store/${'b'.repeat(32)}-nixos-system-next`)
const activation = nixosActivation('r1', next, 'boot-1')

/** Returns the text that hydra-ops sends, with the scripts that stay on the machine. */
function textOf(script: string): string {
  if (script === 'nixos/begin') {
    const beginning = { running: old, old, owner, action: 'test', guarded: true, times: usualTimes } as const
    return targetScript(script, beginValues(activation, beginning))
  }
  if (script === 'nixos/boot-start') {
    const prepare = prepareScript(activation, { old, loader: 'grub', times: usualBootTimes })
    return targetScript(script, { prepare })
  }
  return targetScript(script)
}

const cutPlaces: readonly Place[] = [
  ...cuts.untilKeep,
  ...cuts.beforeProfile,
  ...cuts.guard,
  ...cuts.keep.map(({ place }) => place),
  ...cuts.preparation,
  cuts.entry,
  cuts.next,
  ...cuts.confirmation,
  ...cuts.removal,
  ...cuts.menuAgain,
]
const deathPlaces: readonly Place[] = [
  ...deaths.untilKeep,
  ...deaths.afterKeep,
  ...deaths.undo,
  ...deaths.bootOnce,
]

describe('the places where tests on a guest stop a script', () => {
  it.each([...cutPlaces, ...deathPlaces])('are lines of the script: $script: $line', (place) => {
    const text = textOf(place.script)
    const stopped = putBefore(text, place, 'STOP')
    expect(stopped.split('\n')).toHaveLength(text.split('\n').length + 1)
    expect(stopped.split('STOP\n')[1]).toContain(place.line.split("'")[0])
  })

  it('are all steps that the scripts of a NixOS machine name', () => {
    const folder = 'target/nixos'
    const steps = readdirSync(folder).flatMap((name) =>
      [...readFileSync(join(folder, name), 'utf8').matchAll(/^ *(step \S+)$/gm)].map(([, step = '']) => step),
    )
    expect(steps.length).toBeGreaterThan(15)
    const cut = new Set(cutPlaces.map(({ line }) => line))
    expect(steps.filter((step) => !cut.has(step))).toEqual([])
  })

  it('is an error if the script has no such line', () => {
    expect(() => putBefore('a\nb\n', { script: 'x', line: 'c' }, 'STOP')).toThrow("0 lines 'c', and not 1")
  })
})
