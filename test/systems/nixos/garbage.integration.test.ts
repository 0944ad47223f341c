import { execFileSync } from 'node:child_process'
import { rmSync, symlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DeploymentUuid, type StorePath } from '../../../src/core/names.js'
import { runScript } from '../../../src/remote/run-script.js'
import { prepareScript } from '../../../src/systems/nixos/boot-once.js'
import { nixosActivation, systemProfile } from '../../../src/systems/nixos/places.js'
import { beginActivation, finishActivation, usualTimes } from '../../../src/systems/nixos/steps.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { ScratchNixos } from '../../fakes/scratch-nixos.js'

const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const folder = '/var/lib/hydra-ops/activations/r1'
const times = { ...usualTimes, watch: 0, watchLonger: 0, sample: 0 }

/** A machine whose store belongs to the real Nix, with the roots that NixOS has. */
let machine: ScratchNixos
let old: StorePath
let next: StorePath
let dead: StorePath

beforeEach(() => {
  machine = new ScratchNixos()
  ;[old, next, dead] = [machine.system('old'), machine.system('next'), machine.system('dead')]
  machine.run(old)
  machine.makeMenu(old)
  machine.write('nix/var/nix/gcroots/.keep', '')
  symlinkSync(machine.path('nix/var/nix/profiles'), machine.path('nix/var/nix/gcroots/profiles'))
  for (const each of ['current', 'booted']) {
    symlinkSync(machine.path(`run/${each}-system`), machine.path(`nix/var/nix/gcroots/${each}-system`))
  }
  for (const each of [old, next, dead]) nixStore(['--register-validity'], `${machine.path(each)}\n\n0\n`)
})
afterEach(() => {
  execFileSync('chmod', ['-R', 'u+w', '--', machine.path('nix/store')])
  machine.dispose()
})

function nixStore(args: readonly string[], input = ''): string {
  const env = {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    NIX_REMOTE: 'local',
    NIX_STORE_DIR: machine.path('nix/store'),
    NIX_STATE_DIR: machine.path('nix/var/nix'),
    NIX_CONFIG: 'substituters =\nbuild-users-group =',
  }
  return execFileSync('nix-store', args, { encoding: 'utf8', env, input, stdio: ['pipe', 'pipe', 'pipe'] })
}

const activation = () => nixosActivation('r1', next, 'boot-1')

function begin(action: 'test' | 'none' = 'test'): Promise<void> {
  const beginning = { running: old, old, owner, action, guarded: action === 'test', times }
  return beginActivation(machine.host, activation(), beginning, recordingRun())
}

/** Removes all generations of the profile except the current one, as `nix-collect-garbage -d` does. */
function forgetGenerations(): void {
  const present = machine.link(systemProfile)
  for (const each of machine.list('nix/var/nix/profiles')) {
    if (/^system-\d+-link$/.test(each) && each !== present)
      rmSync(machine.path(`nix/var/nix/profiles/${each}`))
  }
}

/** Collects garbage, and returns the systems that remain. */
function collectGarbage(): string[] {
  forgetGenerations()
  nixStore(['--gc'])
  return [old, next, dead].filter((each) => machine.exists(each)).map((each) => each.replace(/.*-/, ''))
}

describe('a garbage collection on a machine', () => {
  it('takes a copied system that nothing has begun to activate, and nothing else that is needed', () => {
    expect(collectGarbage()).toEqual(['old'])
  })

  it('leaves both systems of an activation that has begun', async () => {
    await begin()
    expect(collectGarbage()).toEqual(['old', 'next'])
  })

  it('leaves both systems while the new one is on trial, also if another one runs since a boot', async () => {
    await begin()
    await machine.runPlaced(old, `${folder}/switch`)
    expect(machine.target('run/current-system')).toBe(next)
    expect(collectGarbage()).toEqual(['old', 'next'])
    machine.run(old, false)
    expect(collectGarbage()).toEqual(['old', 'next'])
  })

  it('leaves the system before the last one for a rollback, although the profile forgot it', async () => {
    await begin()
    await machine.runPlaced(old, `${folder}/switch`)
    await machine.runPlaced(old, `${folder}/keep`)
    await finishActivation(machine.host, activation(), true, recordingRun())
    expect(machine.boot().system).toBe(next)
    expect(collectGarbage()).toEqual(['old', 'next'])
    expect(machine.list('nix/var/nix/profiles')).not.toContain('system-1-link')
  })

  it('leaves both systems while the new one waits for its only boot', async () => {
    await begin('none')
    const { prepareUnit: unit, log } = activation()
    const prepare = prepareScript(activation(), { old, loader: 'grub', times: { fallback: 330, hang: 900 } })
    const values = { unit, log, folder, old, prepare }
    await runScript(machine.host, { what: 'start', script: 'nixos/boot-start', values }, recordingRun())
    await machine.runPlaced(old, `${folder}/prepare`)
    expect(machine.read(`${folder}/prepared`)).toBe('0')
    expect(collectGarbage()).toEqual(['old', 'next'])
  })

  it('takes the new system of an activation that ended without it', async () => {
    await begin()
    await finishActivation(machine.host, activation(), false, recordingRun())
    expect(collectGarbage()).toEqual(['old'])
  })
})
