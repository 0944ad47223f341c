import { describe, expect, it } from 'vitest'
import { failure, OpsError, unreachable, usageError } from '../../src/core/errors.js'
import type { Finding } from '../../src/core/provider.js'
import { explained, pointTo } from '../../src/machine/explain-failure.js'

const finding = (id: string, level: Finding['level'], mend?: string): Finding => ({
  id,
  level,
  what: id,
  mend,
})

const providers = [
  {
    name: 'box',
    explanations: { BOX: ['box.driver'], PROVIDER: ['box.driver'], DISK_FULL: ['box.folder'] },
  },
  { name: 'plain' },
  { name: 'other', explanations: { PROVIDER: ['other.daemon'] } },
]

const opsThatFinds = (...findings: Finding[]) => {
  let looks = 0
  const doctor = async () => {
    looks += 1
    return findings
  }
  return {
    doctor,
    providers: { all: () => providers },
    signal: new AbortController().signal,
    looks: () => looks,
  }
}

const hintOf = (error: unknown) => (error instanceof OpsError ? error.hint : 'not an OpsError')

describe('the finding that explains an error', () => {
  it('is about the missing program for an error about a program', () => {
    const findings = [
      finding('libvirt.kvm', 'note'),
      finding('programs.ssh', 'ok'),
      finding('programs.nix', 'problem'),
    ]
    expect(pointTo(findings, ['programs.'])?.id).toBe('programs.nix')
  })

  it('is a problem before a note', () => {
    const findings = [finding('nix.store', 'note'), finding('state.space', 'problem')]
    expect(pointTo(findings, ['nix.store', 'state.space'])?.id).toBe('state.space')
  })

  it('is never a finding that is in order', () => {
    expect(pointTo([finding('state.space', 'ok')], ['state.space'])).toBeUndefined()
  })
})

describe('an error with a cause on this host', () => {
  it('names that cause after its own hint, and is otherwise unchanged', async () => {
    const error = unreachable('web', 'web does not answer', { hint: 'is it up?', detail: 'console' })
    const ops = opsThatFinds(finding('ssh.agent', 'problem', 'ssh-add'))
    const shown = await explained(ops, error)
    expect(shown).toMatchObject({ code: 'UNREACHABLE', exitCode: 4, machine: 'web', detail: 'console' })
    expect(hintOf(shown)).toBe('is it up?\nhydra-ops doctor reports: ssh.agent; to fix this: ssh-add')
  })

  it('costs one look at this host, however many machines fail', async () => {
    const ops = opsThatFinds(finding('state.space', 'problem', 'hydra-ops image rm'))
    const shown = await Promise.all([1, 2, 3].map(() => explained(ops, failure('BUILD', 'no'))))
    expect(shown.map(hintOf)).toEqual(
      Array(3).fill('hydra-ops doctor reports: state.space; to fix this: hydra-ops image rm'),
    )
    expect(ops.looks()).toBe(1)
  })

  it('is not given the same remedy twice', async () => {
    const error = failure('NOT_INSTALLED', 'no virsh', { hint: 'apt-get install libvirt-clients' })
    const ops = opsThatFinds(finding('programs.guests', 'problem', 'apt-get install libvirt-clients'))
    expect(await explained(ops, error)).toBe(error)
  })
})

describe('an error of a provider', () => {
  const driver = finding('box.driver', 'problem', 'modprobe box')

  it('is explained by the findings that its provider names', async () => {
    const shown = await explained(opsThatFinds(driver), failure('BOX', 'no'), 'box')
    expect(hintOf(shown)).toBe('hydra-ops doctor reports: box.driver; to fix this: modprobe box')
  })

  it('is explained without the name of the machine and its provider too', async () => {
    expect(hintOf(await explained(opsThatFinds(driver), failure('BOX', 'no')))).toContain('modprobe box')
  })

  it('is not explained by a finding of another provider', async () => {
    const error = failure('PROVIDER', 'its state is unknown')
    const ops = opsThatFinds(finding('other.daemon', 'problem'), driver)
    expect(hintOf(await explained(ops, error, 'box'))).toContain('box.driver')
    expect(await explained(opsThatFinds(driver), error, 'plain')).toBe(error)
  })

  it('is explained by the findings of its provider before the general findings', async () => {
    const ops = opsThatFinds(finding('state.space', 'problem'), finding('box.folder', 'problem'))
    expect(hintOf(await explained(ops, failure('DISK_FULL', 'no'), 'box'))).toContain('box.folder')
    const shown = await explained(
      opsThatFinds(finding('state.space', 'problem')),
      failure('DISK_FULL', 'no'),
      'box',
    )
    expect(hintOf(shown)).toContain('state.space')
  })
})

describe('an error without a cause on this host', () => {
  it.each([
    ['of usage', usageError('no such machine')],
    ['of a health check', failure('HEALTH', 'port 80 is closed')],
    ['that is a bug', new TypeError('x is not a function')],
  ])('%s costs no look at this host', async (_, error) => {
    const ops = opsThatFinds(finding('state.space', 'problem'))
    expect(await explained(ops, error)).toBe(error)
    expect(ops.looks()).toBe(0)
  })

  it('is shown as it is when looking fails', async () => {
    const error = failure('BUILD', 'no')
    const ops = { ...opsThatFinds(), doctor: () => Promise.reject(new Error('broken')) }
    expect(await explained(ops, error)).toBe(error)
  })
})
