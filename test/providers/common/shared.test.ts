import { describe, expect, it } from 'vitest'
import { macChooser } from '../../../providers/common/lan.js'
import { unknownState } from '../../../providers/common/look.js'
import { moveSince } from '../../../providers/common/moved.js'
import { unreachable } from '../../../src/core/errors.js'
import { DeploymentUuid } from '../../../src/core/names.js'

describe('the addresses of network interfaces', () => {
  /** Gives every interface the same addresses, so that each choice collides with the earlier choices. */
  const colliding = (_nic: string, attempt: number) => `mac-${attempt}`

  it('differ within one machine, although their names lead to the same address', () => {
    const macOf = macChooser([], colliding)
    expect(['management', '0', '1'].map(macOf)).toEqual(['mac-0', 'mac-1', 'mac-2'])
  })

  it('differ from those of other machines', () => {
    expect(macChooser(['mac-0', 'mac-2'], colliding)('management')).toBe('mac-1')
  })
})

describe('a move of the state folder', () => {
  const deployment = { uuid: DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001'), name: 'lab' }
  const disksIn = (state: string) => `${state}/deployments/${deployment.uuid}/disks/web`
  const here = { deployment, disks: disksIn('/new') }

  it('is found from the former path of a file', () => {
    expect(moveSince(`${disksIn('/old')}/disk.qcow2`, here)).toEqual({ from: '/old', to: '/new' })
  })

  it.each([undefined, '/srv/disk.qcow2', `${disksIn('/new')}/disk.qcow2`])(
    'is not assumed for the path %s',
    (path) => {
      expect(moveSince(path, here)).toBeUndefined()
    },
  )
})

it('a machine in an unknown state has the reason and the remedy', () => {
  const error = unreachable('web', 'libvirt does not answer', { hint: 'start the daemon' })
  expect(unknownState(error)).toEqual({
    kind: 'unknown',
    reason: 'libvirt does not answer (start the daemon)',
  })
  expect(unknownState(unreachable('web', 'no answer'))).toEqual({ kind: 'unknown', reason: 'no answer' })
})
