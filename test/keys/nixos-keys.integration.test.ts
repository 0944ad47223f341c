import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Run } from '../../src/core/run.js'
import { deliverKeys, inspectKeys, removeKeys } from '../../src/keys/deliver.js'
import type { ResolvedKey } from '../../src/keys/keys.js'
import { RootNamespace } from '../fixtures/root-namespace.js'

const run: Run = { signal: new AbortController().signal, log: () => {} }

/** A stand-in for systemctl that reads its units from a file, starts nothing, and fails to enable units. */
const systemctl = `echo "$*" >> /var/log/systemctl
case "$*" in
  *enable*|*disable*) echo "Failed to enable unit: Read-only file system" >&2; exit 1 ;;
  'show -p LoadState --value'*)
    for last do :; done
    grep -qxF -- "$last" /var/lib/units && echo loaded || echo not-found ;;
  *start*)
    for last do :; done
    grep -qxF -- "$last" /var/lib/units || { echo "Failed to start $last: Unit $last not found." >&2; exit 5; } ;;
esac`

let machine: RootNamespace

/** Imitates a NixOS machine: a read-only folder of units, a ramfs for keys, and no perl. */
beforeAll(async () => {
  machine = await RootNamespace.start({ systemctl })
  await machine.sh(`groupadd --system keys; useradd --system app; useradd --system --groups keys member
    mkdir -p /run/systemd/system /run/keys /var/log /var/lib
    mount -t ramfs -o mode=0750 ramfs /run/keys; chown root:keys /run/keys; chmod 750 /run/keys
    mount --bind /etc/systemd/system /etc/systemd/system
    mount -o remount,bind,ro /etc/systemd/system
    mount --bind /bin/false /usr/bin/perl`)
  await expect(machine.sh('touch /etc/systemd/system/x')).rejects.toThrow('Read-only file system')
})
afterAll(async () => machine?.dispose())
beforeEach(() => machine.sh('rm -f /run/keys/*; : > /var/log/systemctl; : > /var/lib/units'))

function key(name: string, more: Partial<ResolvedKey> = {}): ResolvedKey {
  return {
    name,
    path: `/run/keys/${name}`,
    user: 'root',
    group: 'root',
    mode: 0o400,
    uploadAt: 'pre-activation',
    content: Buffer.from(`content of ${name}`),
    os: 'nixos',
    ...more,
  }
}

const deliver = (phase: ResolvedKey['uploadAt'], ...keys: ResolvedKey[]) =>
  deliverKeys(machine.host, keys, phase, run)
/** Lists the calls of systemctl except queries. */
const asked = async () =>
  (await machine.sh('cat /var/log/systemctl'))
    .split('\n')
    .filter((line) => line !== '' && !/^show /.test(line))

describe('a key of a NixOS machine', () => {
  it('arrives before the first system that has its unit, and is then left alone', async () => {
    const { changed } = await deliver('pre-activation', key('token'))
    expect(changed).toEqual(['token'])
    expect(await machine.sh('cat /run/keys/token')).toBe('content of token')
    expect(await asked()).toEqual([])
    await machine.sh('echo token-key.service > /var/lib/units')
    expect(await deliver('post-activation', key('token'))).toEqual({
      changed: [],
      ownerless: [],
      unowned: [],
    })
    expect(await inspectKeys(machine.host, [key('token')], run)).toMatchObject([
      { state: 'same', unitDiffers: false },
    ])
  })

  it('restarts its unit when it is replaced, so that services with the old secret restart', async () => {
    await deliver('pre-activation', key('token'))
    await machine.sh('echo token-key.service > /var/lib/units; : > /var/log/systemctl')
    await deliver('pre-activation', key('token', { content: Buffer.from('new') }))
    expect(await asked()).toEqual(['--no-block restart -- token-key.service'])
  })

  it('starts its unit when it arrives after the activation', async () => {
    await machine.sh('echo late-key.service > /var/lib/units')
    await deliver('post-activation', key('late', { uploadAt: 'post-activation' }))
    expect(await asked()).toEqual(['--no-block start -- late-key.service'])
  })

  it('goes with its file alone, because the next system has no unit of it', async () => {
    await deliver('pre-activation', key('token'))
    await machine.sh('echo token-key.service > /var/lib/units; : > /var/log/systemctl')
    await removeKeys(machine.host, { paths: ['/run/keys/token'], names: ['token'] }, run)
    expect(await machine.sh('ls /run/keys')).toBe('')
    expect(await asked()).toEqual([])
  })
})

describe('the owner of a key in the ramfs of NixOS', () => {
  it('is let in as a member of group keys', async () => {
    await deliver('pre-activation', key('token', { user: 'member' }))
    expect(await machine.sh('setpriv --reuid member --regid member --init-groups cat /run/keys/token')).toBe(
      'content of token',
    )
    expect(await inspectKeys(machine.host, [key('token', { user: 'member' })], run)).toMatchObject([
      { state: 'same', shut: false },
    ])
  })

  it('may become a member by the activation, so that the phase before it lets the key arrive', async () => {
    const mine = key('token', { user: 'app' })
    expect(await deliver('pre-activation', mine)).toMatchObject({ changed: ['token'] })
    expect(await inspectKeys(machine.host, [mine], run)).toMatchObject([{ state: 'same', shut: true }])
    await machine.sh('usermod -aG keys app')
    try {
      expect(await deliver('post-activation', mine)).toMatchObject({ changed: [] })
    } finally {
      await machine.sh('gpasswd -d app keys')
    }
  })

  it('is an error with the option of NixOS if the activation made no member of it', async () => {
    const mine = key('token', { user: 'app' })
    await deliver('pre-activation', mine)
    await expect(deliver('post-activation', mine)).rejects.toMatchObject({
      code: 'KEY_FOLDER',
      message: `machine 'local': key "token": user 'app' and group 'root' cannot be given access to the folder "/run/keys"`,
      hint: 'set users.users.app.extraGroups = [ "keys" ]: a folder without ACLs, such as /run/keys on NixOS, admits only members of the group keys',
    })
  })
})
