import { expect, it } from 'vitest'
import type { AnyProvider } from '../../src/core/bind-provider.js'
import { failure, interrupted } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import { createDoctor } from '../../src/doctor/doctor.js'
import { fakeHost } from '../fakes/host-probe.js'

const run: Run = { signal: new AbortController().signal, log: () => undefined }

type Examined = Pick<AnyProvider, 'name' | 'doctor'>

function doctorWith(providers: readonly Examined[]) {
  return createDoctor(
    {
      local: { run: () => Promise.reject(new Error('the fake host runs nothing')) },
      root: '/home/ada/state',
      providers: { all: () => providers },
      nix: { describeStore: async () => ({ remote: 'daemon', why: 'it answers' }) },
      env: {},
    },
    () => fakeHost(),
  )
}

it('doctor gives every finding an id of its own', async () => {
  const ids = (await doctorWith([])(run)).map((finding) => finding.id)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toContain('programs.guests')
})

it('doctor asks the providers too', async () => {
  const doctor = async () => [{ id: 'libvirt.daemon', level: 'problem' as const, what: 'no daemon' }]
  const findings = await doctorWith([{ name: 'libvirt', doctor }, { name: 'ssh' }])(run)
  expect(findings.filter((finding) => finding.level === 'problem').map((finding) => finding.id)).toEqual([
    'libvirt.daemon',
  ])
})

it('a provider with a failing examination is a finding and hides no other', async () => {
  const doctor = () => Promise.reject(failure('LIBVIRT', 'virsh answers nonsense'))
  const findings = await doctorWith([{ name: 'libvirt', doctor }])(run)
  expect(findings.find((finding) => finding.id === 'libvirt')).toMatchObject({
    level: 'problem',
    what: 'provider libvirt: virsh answers nonsense',
  })
  expect(findings.length).toBeGreaterThan(10)
})

it('doctor is ended by Ctrl-C rather than taking it for a finding', async () => {
  const control = new AbortController()
  const doctor = () => {
    control.abort()
    return Promise.reject(interrupted())
  }
  const examined = doctorWith([{ name: 'libvirt', doctor }])({ ...run, signal: control.signal })
  await expect(examined).rejects.toMatchObject({ code: 'INTERRUPTED' })
})
