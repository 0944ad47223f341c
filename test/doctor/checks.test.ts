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
  it('has no finding that requires an action', async () => {
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

describe('the check of programs', () => {
  const named = (findings: Finding[], id: string) => findings.find((finding) => finding.id === id)

  it('names the missing programs and the one line that installs them', () => {
    const findings = checkPrograms(fakeHost({ without: ['virsh', 'qemu-img'] }))
    expect(named(findings, 'programs.guests')).toEqual({
      id: 'programs.guests',
      level: 'problem',
      what: 'programs to create and run guests (provider libvirt) are missing: virsh, qemu-img',
      mend: 'sudo apt-get install -y --no-install-recommends libvirt-clients qemu-utils',
    })
    expect(findings.filter((finding) => finding.level !== 'ok')).toHaveLength(1)
  })

  it('names a package once when it brings several missing programs', () => {
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
  ])('reports a missing %s as a problem of %s, mended by %s', (program, id, pkg) => {
    const finding = named(checkPrograms(fakeHost({ without: [program] })), id)
    expect(finding).toMatchObject({ level: 'problem', mend: expect.stringContaining(pkg) })
  })
})

describe('the check of Node', () => {
  it.each(['18.19.0', '20.10.9'])('rejects the old version %s', (nodeVersion) => {
    expect(checkNodeVersion(fakeHost({ nodeVersion }))).toMatchObject({ level: 'problem' })
  })

  it.each(['20.11.0', '22.0.0', '24.1.0'])('accepts the version %s', (nodeVersion) => {
    expect(checkNodeVersion(fakeHost({ nodeVersion }))).toMatchObject({ level: 'ok' })
  })
})

describe('the check of user namespaces', () => {
  it.each([
    ['/proc/sys/kernel/unprivileged_userns_clone', '0\n', 'kernel.unprivileged_userns_clone=1'],
    ['/proc/sys/user/max_user_namespaces', '0\n', 'user.max_user_namespaces=15000'],
    [
      '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
      '1\n',
      'kernel.apparmor_restrict_unprivileged_userns=0',
    ],
  ])('names the sysctl against %s', async (file, text, setting) => {
    const finding = await checkUserNamespaces(fakeHost({ files: { [file]: text } }))
    expect(finding).toMatchObject({
      id: 'namespaces.user',
      level: 'problem',
      mend: `sudo sysctl -w ${setting}`,
    })
  })

  it('shows the words of unshare when something else forbids them', async () => {
    const refused = ended(1, 'unshare: unshare failed: Operation not permitted\n')
    const finding = await checkUserNamespaces(fakeHost({ ends: { unshare: refused } }))
    expect(finding).toMatchObject({ level: 'problem' })
    expect(finding.what).toContain('Operation not permitted')
  })

  it('is left out for root', async () => {
    const host = fakeHost({ user: root, ends: { unshare: ended(1) }, files: { '/etc/subuid': '' } })
    expect(await checkUserNamespaces(host)).toMatchObject({ level: 'ok' })
    expect(checkSubordinateIds(host)).toMatchObject({ level: 'ok' })
  })

  it.each([
    ['another user’s', 'bob:100000:65536\n'],
    ['too small', 'ada:100000:1000\n'],
    ['absent', ''],
  ])('reports a range of subordinate ids that is %s', (_, subuid) => {
    const finding = checkSubordinateIds(fakeHost({ files: { '/etc/subuid': subuid } }))
    expect(finding).toMatchObject({ id: 'namespaces.subids', level: 'problem' })
    expect(finding.what).toContain('/etc/subuid')
    expect(finding.what).not.toContain('/etc/subgid')
    expect(finding.mend).toContain('usermod --add-subuids')
  })

  it('accepts a range given by user id', () => {
    const files = { '/etc/subuid': '1000:100000:65536\n', '/etc/subgid': '1000:100000:65536\n' }
    expect(checkSubordinateIds(fakeHost({ files }))).toMatchObject({ level: 'ok' })
  })
})

describe('the check of Nix', () => {
  it('reports the chosen store and the reason', async () => {
    const finding = await checkNixStore({
      describeStore: async () => ({ remote: 'daemon', why: 'the Nix daemon of this host answers' }),
    })
    expect(finding.what).toBe('Nix store: daemon (the Nix daemon of this host answers)')
  })

  it('reports a problem when no store can be chosen', async () => {
    const finding = await checkNixStore({ describeStore: () => Promise.reject(new Error('not a store')) })
    expect(finding).toMatchObject({ id: 'nix.store', level: 'problem' })
    expect(finding.what).toContain('not a store')
  })

  const socket = '/nix/var/nix/daemon-socket'
  const group = 'nix-users:x:200:\n'

  it('reports a daemon that this user may not use, with the group to join', () => {
    const host = fakeHost({ files: { '/etc/group': group, [socket]: '' }, forbidden: [`${socket}/socket`] })
    expect(checkNixUsers(host)).toMatchObject({
      id: 'nix.users',
      level: 'note',
      mend: expect.stringContaining('sudo adduser ada nix-users'),
    })
  })

  it('lets a member of nix-users use the daemon', () => {
    const host = fakeHost({ groups: ['nix-users'], files: { '/etc/group': group, [socket]: '' } })
    expect(checkNixUsers(host)).toMatchObject({ level: 'ok' })
  })
})

describe('the state folder', () => {
  it('is a problem on a full file system, and a note on a nearly full one', () => {
    expect(checkFreeSpace(fakeHost({ freeBytes: 0.5 * gibibyte }), state)).toMatchObject({
      id: 'state.space',
      level: 'problem',
    })
    expect(checkFreeSpace(fakeHost({ freeBytes: 2 * gibibyte }), state)).toMatchObject({ level: 'note' })
  })

  it('is a problem when its free space cannot be read', () => {
    expect(checkFreeSpace(fakeHost({ freeBytes: undefined }), state)).toMatchObject({ level: 'problem' })
  })

  it('gets a chmod when it is open to others', () => {
    const host = fakeHost({ files: { [state]: '' }, owners: { [state]: { uid: 1000, mode: 0o755 } } })
    expect(checkStateFolder(host, state)).toMatchObject({ level: 'problem', mend: `chmod 0700 '${state}'` })
  })

  it.each([
    ['of another user', { owners: { [state]: { uid: 0, mode: 0o700 } }, files: { [state]: '' } }],
    ['that cannot be written', { owners: { [state]: { uid: 1000, mode: 0o500 } }, forbidden: [state] }],
    ['that cannot be looked at', { forbidden: [state] }],
  ])('is a problem as a folder %s', (_, broken) => {
    expect(checkStateFolder(fakeHost(broken), state)).toMatchObject({
      id: 'state.folder',
      level: 'problem',
      mend: expect.stringContaining('chown'),
    })
  })
})

describe('the ssh agent', () => {
  const env = { SSH_AUTH_SOCK: '/tmp/agent.1' }

  it('is a problem when SSH_AUTH_SOCK names a dead agent', async () => {
    const finding = await checkSshAgent(fakeHost({ env, ends: { 'ssh-add': ended(2) } }))
    expect(finding).toMatchObject({ id: 'ssh.agent', level: 'problem' })
    expect(finding.what).toContain('/tmp/agent.1')
  })

  it('is worth a note without a key', async () => {
    const finding = await checkSshAgent(fakeHost({ env, ends: { 'ssh-add': ended(1) } }))
    expect(finding).toMatchObject({ level: 'note', mend: 'ssh-add' })
  })

  it('is in order with keys', async () => {
    expect(await checkSshAgent(fakeHost({ env }))).toMatchObject({ level: 'ok' })
  })
})
