import { expect, it } from 'vitest'
import type { Finding } from '../../src/core/provider.js'
import { pointTo } from '../../src/doctor/explain.js'

const finding = (id: string, level: Finding['level']): Finding => ({ id, level, what: id })

it('a program that is not installed points to what installs it', () => {
  const findings = [finding('kvm', 'note'), finding('programs.ssh', 'ok'), finding('programs.nix', 'problem')]
  expect(pointTo(findings, 'NOT_INSTALLED')?.id).toBe('programs.nix')
})

it('a problem explains better than a note', () => {
  const findings = [finding('nix.store', 'note'), finding('state.space', 'problem')]
  expect(pointTo(findings, 'BUILD')?.id).toBe('state.space')
})

it('what is in order explains nothing', () => {
  expect(pointTo([finding('state.space', 'ok')], 'DISK_FULL')).toBeUndefined()
})

it('an error that no finding is about points to nothing', () => {
  expect(pointTo([finding('state.space', 'problem')], 'HEALTH')).toBeUndefined()
})
