import { describe, expect, it } from 'vitest'
import type { Finding } from '../../src/core/provider.js'
import { checkNixStore, checkNixUsers } from '../../src/doctor/nix-store.js'
import { checkNodeVersion } from '../../src/doctor/node-version.js'
import { checkPrograms } from '../../src/doctor/programs.js'
import { checkSshAgent } from '../../src/doctor/ssh-agent.js'
import { checkFreeSpace, checkStateFolder } from '../../src/doctor/state-folder.js'
import { checkSubordinateIds, checkUserNamespaces } from '../../src/doctor/user-namespaces.js'
import { ended, fakeHost } from '../fakes/host-probe.js'

const root = { name: 'root', uid: 0 }
const state = '/home/ada/.local/state/hydra-ops'
const gibibyte = 1024 ** 3

describe('a healthy host', () => {
  it('has no finding that asks for anything', async () => {
    const host = fakeHost({ owners: { [state]: { uid: 1000, mode: 0o700 } }, files: { [state]: '' } })
    const findings = [
      checkNodeVersion(host),
      ...checkPrograms(host),
      await checkUserNamespaces(host),
      checkSubordinateIds(host),
      checkNixUsers(host),
      checkStateFolder(host, state),
      checkFreeSpace(host, state),
      await checkSshAgent(host),
    ]
    expect(findings.filter((finding) => finding.level !== 'ok')).toEqual([])
    expect(findings.filter((finding) => finding.mend !== undefined)).toEqual([])
  })
})

describe('programs', () => {
  const named = (findings: Finding[], id: string) => findings.find((finding) => finding.id === id)

  it('names what is missing and the one line that installs it', () => {
    const findings = checkPrograms(fakeHost({ without: ['virsh', 'qemu-img'] }))
    expect(named(findings, 'programs.guests')).toEqual({
      id: 'programs.guests',
      level: 'problem',
      what: 'to make and run guests (provider libvirt), these programs are missing: virsh, qemu-img',
      mend: 'sudo apt-get install -y --no-install-recommends libvirt-clients qemu-utils',
    })
    expect(findings.filter((finding) => finding.level !== 'ok')).toHaveLength(1)
  })

  it('names a package once that brings several missing programs', () => {
    const findings = checkPrograms(fakeHost({ without: ['nix-store', 'nix-env', 'nix-instantiate'] }))
    expect(named(findings, 'programs.nix')?.mend).toBe(
      'sudo apt-get install -y --no-install-recommends nix-bin',
    )
  })

  it.each([
    ['mmdebstrap', 'programs.images', 'mmdebstrap'],
    ['newuidmap', 'programs.images', 'uidmap'],
    ['ssh', 'programs.ssh', 'openssh-client'],
    ['libvirtd', 'programs.guests', 'libvirt-daemon'],
  ])('a missing %s is a problem of %s, mended by %s', (program, id, pkg) => {
    const finding = named(checkPrograms(fakeHost({ without: [program] })), id)
    expect(finding).toMatchObject({ level: 'problem', mend: expect.stringContaining(pkg) })
  })
})

describe('Node', () => {
  it.each(['18.19.0', '20.10.9'])('%s is too old', (nodeVersion) => {
    expect(checkNodeVersion(fakeHost({ nodeVersion }))).toMatchObject({ level: 'problem' })
  })

  it.each(['20.11.0', '22.0.0', '24.1.0'])('%s will do', (nodeVersion) => {
    expect(checkNodeVersion(fakeHost({ nodeVersion }))).toMatchObject({ level: 'ok' })
  })
})

describe('user namespaces', () => {
  it.each([
    ['/proc/sys/kernel/unprivileged_userns_clone', '0\n', 'kernel.unprivileged_userns_clone=1'],
    ['/proc/sys/user/max_user_namespaces', '0\n', 'user.max_user_namespaces=15000'],
    [
      '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
      '1\n',
      'kernel.apparmor_restrict_unprivileged_userns=0',
    ],
  ])('switched off by %s: the sysctl that switches them on', async (file, text, setting) => {
    const finding = await checkUserNamespaces(fakeHost({ files: { [file]: text } }))
    expect(finding).toMatchObject({
      id: 'namespaces.user',
      level: 'problem',
      mend: `sudo sysctl -w ${setting}`,
    })
  })

  it('forbidden by something else: what unshare said is shown', async () => {
    const refused = ended(1, 'unshare: unshare failed: Operation not permitted\n')
    const finding = await checkUserNamespaces(fakeHost({ ends: { unshare: refused } }))
    expect(finding).toMatchObject({ level: 'problem' })
    expect(finding.what).toContain('Operation not permitted')
  })

  it('are not asked for when we are root', async () => {
    const host = fakeHost({ user: root, ends: { unshare: ended(1) }, files: { '/etc/subuid': '' } })
    expect(await checkUserNamespaces(host)).toMatchObject({ level: 'ok' })
    expect(checkSubordinateIds(host)).toMatchObject({ level: 'ok' })
  })

  it.each([
    ['another user’s', 'bob:100000:65536\n'],
    ['too small', 'ada:100000:1000\n'],
    ['absent', ''],
  ])('a range of subordinate ids that is %s is a problem', (_, subuid) => {
    const finding = checkSubordinateIds(fakeHost({ files: { '/etc/subuid': subuid } }))
    expect(finding).toMatchObject({ id: 'namespaces.subids', level: 'problem' })
    expect(finding.what).toContain('/etc/subuid')
    expect(finding.what).not.toContain('/etc/subgid')
    expect(finding.mend).toContain('usermod --add-subuids')
  })

  it('a range given by user id counts', () => {
    const files = { '/etc/subuid': '1000:100000:65536\n', '/etc/subgid': '1000:100000:65536\n' }
    expect(checkSubordinateIds(fakeHost({ files }))).toMatchObject({ level: 'ok' })
  })
})

describe('Nix', () => {
  it('says which store is used and why', async () => {
    const finding = await checkNixStore({
      describeStore: async () => ({ remote: 'daemon', why: 'the Nix daemon of this host answers' }),
    })
    expect(finding.what).toBe('Nix store: daemon (the Nix daemon of this host answers)')
  })

  it('a store that cannot be chosen is a problem', async () => {
    const finding = await checkNixStore({ describeStore: () => Promise.reject(new Error('not a store')) })
    expect(finding).toMatchObject({ id: 'nix.store', level: 'problem' })
    expect(finding.what).toContain('not a store')
  })

  const socket = '/nix/var/nix/daemon-socket'
  const group = 'nix-users:x:200:\n'

  it('a daemon that this user may not use is told, with the group to join', () => {
    const host = fakeHost({ files: { '/etc/group': group, [socket]: '' }, forbidden: [`${socket}/socket`] })
    expect(checkNixUsers(host)).toMatchObject({
      id: 'nix.users',
      level: 'note',
      mend: expect.stringContaining('sudo adduser ada nix-users'),
    })
  })

  it('a member of nix-users may use the daemon', () => {
    const host = fakeHost({ groups: ['nix-users'], files: { '/etc/group': group, [socket]: '' } })
    expect(checkNixUsers(host)).toMatchObject({ level: 'ok' })
  })
})

describe('the state folder', () => {
  it('on a full file system is a problem, on a nearly full one a note', () => {
    expect(checkFreeSpace(fakeHost({ freeBytes: 0.5 * gibibyte }), state)).toMatchObject({
      id: 'state.space',
      level: 'problem',
    })
    expect(checkFreeSpace(fakeHost({ freeBytes: 2 * gibibyte }), state)).toMatchObject({ level: 'note' })
  })

  it('whose free space cannot be read is a problem', () => {
    expect(checkFreeSpace(fakeHost({ freeBytes: undefined }), state)).toMatchObject({ level: 'problem' })
  })

  it('that is open to others is closed by a chmod', () => {
    const host = fakeHost({ files: { [state]: '' }, owners: { [state]: { uid: 1000, mode: 0o755 } } })
    expect(checkStateFolder(host, state)).toMatchObject({ level: 'problem', mend: `chmod 0700 '${state}'` })
  })

  it.each([
    ['of another user', { owners: { [state]: { uid: 0, mode: 0o700 } }, files: { [state]: '' } }],
    ['that cannot be written', { owners: { [state]: { uid: 1000, mode: 0o500 } }, forbidden: [state] }],
    ['that cannot be looked at', { forbidden: [state] }],
  ])('%s is a problem', (_, broken) => {
    expect(checkStateFolder(fakeHost(broken), state)).toMatchObject({
      id: 'state.folder',
      level: 'problem',
      mend: expect.stringContaining('chown'),
    })
  })
})

describe('the ssh agent', () => {
  const env = { SSH_AUTH_SOCK: '/tmp/agent.1' }

  it('that SSH_AUTH_SOCK names and that is dead is a problem', async () => {
    const finding = await checkSshAgent(fakeHost({ env, ends: { 'ssh-add': ended(2) } }))
    expect(finding).toMatchObject({ id: 'ssh.agent', level: 'problem' })
    expect(finding.what).toContain('/tmp/agent.1')
  })

  it('without a key is worth a note', async () => {
    const finding = await checkSshAgent(fakeHost({ env, ends: { 'ssh-add': ended(1) } }))
    expect(finding).toMatchObject({ level: 'note', mend: 'ssh-add' })
  })

  it('with keys is fine', async () => {
    expect(await checkSshAgent(fakeHost({ env }))).toMatchObject({ level: 'ok' })
  })
})
