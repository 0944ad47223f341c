import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failure } from '../../../src/core/errors.js'
import { StorePath } from '../../../src/core/names.js'
import { connect } from '../../../src/machine/connect.js'
import { reattach } from '../../../src/systems/nixos/activation.js'
import { type FakeNixos, runFakeNixos } from '../../fakes/fake-nixos.js'
import { createFakeSsh, type FakeSsh, succeed } from '../../fakes/fake-ssh.js'
import { fakeTarget } from '../../fakes/fake-target.js'
import { type NixosSession, nixosSession, recordedActivation } from '../../fakes/nixos-session.js'

const old = StorePath.parse(`/nix/store/${'a'.repeat(32)}-nixos-system-web`)
const next = StorePath.parse(`/nix/store/${'b'.repeat(32)}-nixos-system-web`)
const activation = recordedActivation('r1', next, 'boot-1')

let machine: FakeNixos
let ssh: FakeSsh
let begun: NixosSession

beforeEach(() => {
  machine = { current: next, profile: old, boot: 'boot-1', files: new Map(), leftover: false, awaits: '' }
  ssh = createFakeSsh()
  runFakeNixos(ssh, machine, { old, next }, {})
})
afterEach(() => begun.ops.cleanup())

/** Starts the later process with the record of the earlier process. */
async function begin(options: Parameters<typeof nixosSession>[2]): Promise<void> {
  begun = await nixosSession(ssh, fakeTarget('web'), { run: 'r2', ...options })
  await connect(begun.session)
}

describe('a later process', () => {
  it('confirms an activation that still waits, over a login of its own', async () => {
    await begin({ activation })
    machine.files
      .set('old', old)
      .set('armed', 'boot-1')
      .set('ended', '0')
      .set('watched', '1')
      .set('settled', '1')
    expect(await reattach(begun.session)).toBe(true)
    // Health checks have not judged the system, so the boot default waits for the deploy.
    expect(machine).toMatchObject({ current: next, profile: old })
    expect(begun.record().activation).toBeUndefined()
    expect(ssh.execs.find(({ scriptName }) => scriptName === 'nixos/confirm')?.values).toMatchObject({
      run: 'r1',
    })
  })

  it('reads the end of a change of the boot default that an earlier process began', async () => {
    await begin({ activation })
    machine.files.set('old', old).set('confirmed', '').set('ended', '0').set('watched', '1')
    machine.files.set('settled', '1').set('kept', '0 0')
    expect(await reattach(begun.session)).toBe(true)
    const finish = ssh.execs.find(({ scriptName }) => scriptName === 'nixos/finish')
    expect(finish?.values).toMatchObject({ run: 'r1', kept: 'true' })
  })

  it('confirms a one-time boot over its own login, and leaves the judgement to the deploy', async () => {
    await begin({ activation })
    machine.boot = 'boot-2'
    const state = 'entered=yes\nstate=confirmed\nwon=yes\n'
    ssh.answer('confirm the boot of the new system', succeed(`boot=boot-2\ncurrent=${next}\n${state}`))
    ssh.answer('remove the boot of the new system from the boot menu', succeed())
    expect(await reattach(begun.session)).toBe(true)
    expect(machine).toMatchObject({ current: next, profile: old })
    expect(begun.record().activation).toBeUndefined()
  })

  it('learns that a one-time boot ended in the old system, and forgets the activation', async () => {
    await begin({ activation })
    Object.assign(machine, { boot: 'boot-3', current: old })
    const state = 'entered=no\nstate=fired\nwon=no\n'
    ssh.answer('confirm the boot of the new system', succeed(`boot=boot-3\ncurrent=${old}\n${state}`))
    ssh.answer('remove the boot of the new system from the boot menu', succeed())
    expect(await reattach(begun.session)).toBe(true)
    expect(begun.lines.join('\n')).toContain('nobody confirmed the new system in time')
    expect(begun.record().activation).toBeUndefined()
  })

  it('finds nothing to continue where the record has no activation', async () => {
    await begin({})
    expect(await reattach(begun.session)).toBe(false)
    expect(ssh.execs).toEqual([])
  })

  it('passes on an error of the machine, and keeps the record', async () => {
    await begin({ activation })
    ssh.answer('follow the activation', () => {
      throw failure('REMOTE_COMMAND', 'no sh')
    })
    await expect(reattach(begun.session)).rejects.toMatchObject({ code: 'REMOTE_COMMAND' })
    expect(begun.record().activation).toBeDefined()
  })
})
