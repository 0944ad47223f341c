import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { deploy, disposeMachines, machine } from './scratch-machines.js'

afterEach(disposeMachines)

describe('the owners that a set-up task creates after the activation', () => {
  const wanted = {
    files: { '/etc/a': { text: 'theirs', user: 'no-such-user' }, '/etc/b': 'ours' },
    units: {
      'theirs.service': { text: '[Service]\nUser=no-such-user\nExecStart=/bin/true\n' },
      'group.service': { text: '[Service]\n Group = no-such-group\nExecStart=/bin/true\n' },
      'dynamic.service': { text: '[Service]\nDynamicUser=yes\nUser=no-such-user\nExecStart=/bin/true\n' },
      'ours.service': { text: '[Service]\nUser=root\nExecStart=/bin/true\n' },
    },
  }
  const profile = '/nix/var/nix/profiles/hydra-ops'

  it('make the activation leave out their files, start none of their units, do all else, and end with 6', () => {
    const m = machine()
    const result = m.activate(m.closure(wanted), '--before-tasks')
    expect(result).toMatchObject({ code: 6, stderr: '' })
    expect(result.output).toContain(
      'waiting for their owner: file /etc/a, unit group.service, unit theirs.service\nresult 6\n',
    )
    expect([m.exists('/etc/a'), m.read('/etc/b')]).toEqual([false, 'ours'])
    expect(m.exists('/etc/systemd/system/theirs.service')).toBe(true)
    expect(m.unit('theirs.service').started).toBe('')
    expect(m.unit('group.service').started).toBe('')
    expect(m.unit('dynamic.service').active).toBe('active')
    expect(m.unit('ours.service').active).toBe('active')
    expect(m.exists(profile)).toBe(false)
  })

  it('are an error if missing after the tasks, and nothing else is done again then', () => {
    const m = machine()
    const closure = m.closure(wanted)
    m.activate(closure, '--before-tasks')
    expect(m.activate(closure)).toMatchObject({
      code: 1,
      output: expect.stringContaining("the owner of /etc/a does not exist here: user 'no-such-user'"),
    })
    m.forgetCalls()
    const { '/etc/a': _, ...files } = wanted.files
    expect(m.activate(m.closure({ ...wanted, files })).code).toBe(0)
    const restarted = m
      .calls()
      .filter((call) => call.includes(' restart '))
      .join()
    expect(restarted).toContain('theirs.service')
    expect(restarted).toContain('group.service')
    expect(restarted).not.toContain('ours.service')
    expect(m.exists(profile)).toBe(true)
  })

  it.each([
    [
      'a supplementary group',
      '[Service]\nDynamicUser=yes\nSupplementaryGroups=root no-such-group',
      'service',
    ],
    [
      'a second list of groups',
      '[Service]\nSupplementaryGroups=\nSupplementaryGroups=no-such-group',
      'service',
    ],
    ['the user of a socket', '[Socket]\nListenStream=/run/x\nSocketUser=no-such-user', 'socket'],
    ['the group of a socket', '[Socket]\nListenStream=/run/x\nSocketGroup = no-such-group', 'socket'],
    ['a list over two lines', '[Service]\nSupplementaryGroups=root \\\n no-such-group', 'service'],
    ['the last of several users', '[Service]\nUser=root\nUser=no-such-user', 'service'],
    [
      'a dynamic user that is taken back',
      '[Service]\nDynamicUser=yes\nDynamicUser=no\nUser=nosuch',
      'service',
    ],
  ])('are waited for when they are %s', (_, text, kind) => {
    const m = machine()
    const closure = m.closure({ units: { [`a.${kind}`]: { text: `${text}\n` } } })
    expect(m.activate(closure, '--before-tasks')).toMatchObject({
      code: 6,
      output: expect.stringContaining(`waiting for their owner: unit a.${kind}\n`),
    })
    expect(m.unit(`a.${kind}`).started).toBe('')
  })

  it.each([
    ['an empty line that takes it back', 'User=no-such-user\nUser='],
    ['an empty user before its group', 'User=\nGroup=root'],
    ['an empty list after a list of groups', 'SupplementaryGroups=no-such-group\nSupplementaryGroups='],
    ['a blank value before another setting', 'Group= \t\nUser=root'],
    ['a specifier, whose value nobody knows here', 'User=%i\nSupplementaryGroups=%i'],
  ])('are not waited for with %s', (_, text) => {
    const m = machine()
    const unit = { text: `[Service]\n${text}\nExecStart=/bin/true\n` }
    expect(deploy(m, { units: { 'a.service': unit } }, '--before-tasks')).toBe(
      'unit a.service started\nresult 0\n',
    )
  })

  it('leave a unit that fails before the tasks to the activation after them', () => {
    const m = machine()
    const bad = '[Service]\nExecStart=/bin/needs-the-database\n# stand-in: fails\n'
    const wanted = { files: { '/etc/b': 'ours' }, units: { 'bad.service': { text: bad } } }
    const closure = m.closure(wanted)
    const early = m.activate(closure, '--before-tasks')
    expect(early).toMatchObject({ code: 6, stderr: '' })
    expect(early.output).toContain(
      'unit bad.service failed (exit-code)\nfailed before the set-up tasks: unit bad.service\nresult 6 bad.service\n',
    )
    expect(m.exists(profile)).toBe(false)
    m.forgetCalls()
    expect(m.activate(closure)).toMatchObject({
      code: 4,
      output: expect.stringMatching(/\nresult 4 bad\.service\n$/),
    })
    expect(m.calls()).toContain('systemctl --no-ask-password restart --no-block -- bad.service')
  })

  it('let the user’s activation program fail before the tasks, and run again after them', () => {
    const m = machine()
    const activate = `#!/bin/sh\ntest -e ${m.folder}/made-by-a-task\n`
    const closure = m.closure({
      activate,
      units: { 'a.service': { text: '[Service]\nExecStart=/bin/true\n' } },
    })
    const early = m.activate(closure, '--before-tasks')
    expect(early).toMatchObject({ code: 6, stderr: '' })
    expect(early.output).toMatch(
      /\/bin\/activate ended with status 1\nfailed before the set-up tasks: deployment\.activate\nresult 6\n$/,
    )
    expect(m.unit('a.service').active).toBeUndefined()
    expect(m.activate(closure).code).toBe(2)
    writeFileSync(join(m.folder, 'made-by-a-task'), '')
    expect(m.activate(closure).code).toBe(0)
    expect(m.unit('a.service').active).toBe('active')
  })

  it('change nothing when every owner exists', () => {
    const m = machine()
    expect(deploy(m, { files: { '/etc/b': 'ours' } }, '--before-tasks')).toBe(
      'file /etc/b written\nresult 0\n',
    )
  })
})
