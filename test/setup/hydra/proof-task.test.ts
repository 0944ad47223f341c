import { describe, expect, it } from 'vitest'
import { placeProblems } from '../../../src/core/owned-places.js'
import { bindTask } from '../../../src/core/setup-task.js'
import { hydraProofTask, provenSystem } from '../../../src/setup/hydra/proof-task.js'
import { taskMachine } from '../../fakes/task-run.js'

const admin = { userName: 'alice', roles: ['admin'], password: { generate: true } }

describe('the proof of Hydra', () => {
  it('is a build for the machine’s own system, or for a system with builders if the own one has none', () => {
    expect(provenSystem('x86_64-linux', [])).toBe('x86_64-linux')
    expect(provenSystem('x86_64-linux', ['aarch64-linux', 'x86_64-linux'])).toBe('x86_64-linux')
    expect(provenSystem('x86_64-linux', ['aarch64-linux', 'i686-linux'])).toBe('aarch64-linux')
  })

  it('is wanted when a user may request it, and not when it is turned off', () => {
    const wanted = (hydra: Record<string, unknown>) =>
      bindTask(hydraProofTask)(taskMachine({ hydra: { enable: true, ...hydra } }))
    expect(wanted({ admin })?.secrets).toHaveLength(1)
    expect(wanted({})).toBeUndefined()
    expect(wanted({ admin: { ...admin, roles: ['restart-jobs'] } })).toBeUndefined()
    expect(wanted({ admin, probe: false })).toBeUndefined()
  })
  it('keeps its folder for itself: the next proof would delete a file of the definition there', () => {
    const task = bindTask(hydraProofTask)(taskMachine({ hydra: { enable: true, admin } }))
    const say = (path: string) =>
      placeProblems([{ option: ['files'], path }], task?.owns ?? []).map((each) => each.say)
    const inside = '/var/lib/hydra/hydra-ops-probe/own/default.nix'
    expect(say(inside)).toEqual([`set-up task 'hydra-proof' writes ${inside}; use another folder`])
    expect(say('/var/lib/hydra/hydra-ops-probe')).toHaveLength(1)
    expect(say('/var/lib/hydra/hydra-ops-probes/default.nix')).toEqual([])
  })
})
