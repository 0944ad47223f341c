import { posix } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Run } from '../../src/core/run.js'
import { deliverKeys, inspectKeys } from '../../src/keys/deliver.js'
import { openFolders } from '../../src/keys/key-folders.js'
import type { ResolvedKey } from '../../src/keys/keys.js'
import { RootNamespace } from '../fixtures/root-namespace.js'

const run: Run = { signal: new AbortController().signal, log: () => {} }

/** A stand-in for setfacl of the package acl: it accepts only `setfacl --set LIST .`. */
const setfacl = `exec python3 -c "
import os, struct, sys
_, option, entries, path = sys.argv
if (option, path) != (\\"--set\\", \\".\\"): sys.exit(2)
tags = {\\"u:\\": 1, \\"u\\": 2, \\"g:\\": 4, \\"g\\": 8, \\"m:\\": 16, \\"o:\\": 32}
packed = []
for entry in entries.split(\\",\\"):
    kind, name, bits = entry.split(\\":\\")
    mode = sum(4 >> i for i in range(3) if bits[i] == \\"rwx\\"[i])
    packed.append((tags[kind if name else kind + \\":\\"], int(name or 0xffffffff), mode))
packed.sort()
acl = b\\"\\".join(struct.pack(\\"<HHI\\", tag, mode, name) for tag, name, mode in packed)
os.setxattr(path, \\"system.posix_acl_access\\", struct.pack(\\"<I\\", 2) + acl)
" "$@"`

let machine: RootNamespace

beforeAll(async () => {
  machine = await RootNamespace.start()
  await machine.sh(`groupadd --system keys; groupadd --system readers
    useradd --system app; useradd --system other; useradd --system --groups readers reader
    useradd --system --groups keys lister`)
})
afterAll(async () => machine?.dispose())

function key(path: string, more: Partial<ResolvedKey> = {}): ResolvedKey {
  return {
    name: path.slice(path.lastIndexOf('/') + 1),
    path,
    user: 'root',
    group: 'root',
    mode: 0o400,
    uploadAt: 'pre-activation',
    os: 'debian',
    content: Buffer.from(`content of ${path}`),
    ...more,
  }
}

const deliver = (...keys: ResolvedKey[]) => deliverKeys(machine.host, keys, 'pre-activation', run)
const look = (...keys: ResolvedKey[]) => inspectKeys(machine.host, keys, run)

/** Runs a command with one path as another user, and returns the result. */
const as = (user: string, command: string, path: string) =>
  machine.sh(
    'setpriv --reuid "$1" --regid "$(id -g "$1")" --init-groups $2 -- "$3" 2>/dev/null || echo refused',
    user,
    command,
    path,
  )

describe('the folder of a key', () => {
  it.each(['/run/keys', '/srv/of its own/ü %h %%/keys'])(
    'lets the user of a key in, and shows nothing to anybody else: %s',
    async (folder) => {
      const mine = key(`${folder}/mine`, { user: 'app' })
      await deliver(mine, key(`${folder}/roots`))
      expect(await as('app', 'cat', mine.path)).toBe(`content of ${mine.path}`)
      expect(await as('app', 'ls', folder)).toBe('refused')
      expect(await as('app', 'cat', `${folder}/roots`)).toBe('refused')
      for (const path of [mine.path, `${folder}/roots`, `${folder}/no such key`])
        expect(await as('other', 'stat', path)).toBe('refused')
      expect(await as('lister', 'ls', folder)).toBe('mine\nroots')
      expect(await machine.sh(`stat -c '%a %U %G' -- "$1"`, folder)).toBe('750 root keys')
      expect(await deliver(mine, key(`${folder}/roots`))).toEqual({ changed: [], ownerless: [], unowned: [] })
    },
  )

  it('lets the members of its group in when the group may read it, and only then', async () => {
    const shared = key('/srv/shared/key', { group: 'readers', mode: 0o640 })
    const secret = key('/srv/secret/key', { group: 'readers', mode: 0o600 })
    await deliver(shared, secret)
    expect(await as('reader', 'cat', shared.path)).toBe(`content of ${shared.path}`)
    expect(await as('reader', 'ls', '/srv/shared')).toBe('refused')
    expect(await as('reader', 'stat', secret.path)).toBe('refused')
    expect(await as('app', 'stat', shared.path)).toBe('refused')
  })

  it('takes no right away from a user who may list it as a member of group keys', async () => {
    const listed = key('/srv/listed/key', { user: 'lister' })
    await deliver(listed)
    expect(await as('lister', 'ls', '/srv/listed')).toBe('key')
    expect(await as('lister', 'cat', listed.path)).toBe(`content of ${listed.path}`)
  })

  it('is opened when an earlier version left it shut, while the key itself is correct', async () => {
    const old = key('/srv/old/key', { user: 'app' })
    await machine.sh('install -d -m 0750 -g keys /srv/old; install -m 0400 -o app /dev/null /srv/old/key')
    await machine.sh('printf %s "content of /srv/old/key" > /srv/old/key')
    expect(await as('app', 'cat', old.path)).toBe('refused')
    expect(await look(old)).toMatchObject([{ state: 'same', shut: true }])
    expect(await deliver(old)).toEqual({ changed: ['key'], ownerless: [], unowned: [] })
    expect(await as('app', 'cat', old.path)).toBe(`content of ${old.path}`)
    expect(await look(old)).toMatchObject([{ state: 'same', shut: false }])
  })

  it('is shut to users without a key in it', async () => {
    const first = key('/srv/passed/key', { user: 'app' })
    await deliver(first)
    await deliver({ ...first, user: 'other' })
    expect(await as('other', 'cat', first.path)).toBe(`content of ${first.path}`)
    expect(await as('app', 'stat', first.path)).toBe('refused')
    await openFolders(machine.host, [], run, { emptied: ['/srv/passed'] })
    expect(await as('other', 'stat', first.path)).toBe('refused')
  })

  it('is left as it is when somebody else made it, also when its user cannot enter it', async () => {
    await machine.sh('install -d -m 0700 /srv/private')
    const mine = key('/srv/private/key', { user: 'app' })
    await deliver(mine)
    expect(await as('app', 'stat', mine.path)).toBe('refused')
    expect(await look(mine)).toMatchObject([{ state: 'same', shut: false }])
    expect(await deliver(mine)).toEqual({ changed: [], ownerless: [], unowned: [] })
    expect(await machine.sh(`stat -c '%a %U %G' /srv/private`)).toBe('700 root root')
  })

  it('needs the package acl in some places: the error names the key, and acl then opens the folder', async () => {
    await machine.sh('install -d -m 0755 -o app /srv/apps')
    const mine = key('/srv/apps/keys/token', { user: 'other' })
    await expect(deliver(mine)).rejects.toMatchObject({
      code: 'KEY_FOLDER',
      message: `machine 'local': key "token": user 'other' and group 'root' cannot be given access to the folder "/srv/apps/keys"`,
      hint: expect.stringContaining('deployment.aptPackages = [ "acl" ]'),
    })
    await machine.standIn('setfacl', setfacl)
    const strange = key('/srv/"[a] *\\n{b,c}/token', { user: 'other' })
    for (const each of [mine, strange]) {
      await deliver(each)
      expect(await as('other', 'cat', each.path)).toBe(`content of ${each.path}`)
      expect(await as('other', 'ls', posix.dirname(each.path))).toBe('refused')
      expect(await as('reader', 'stat', each.path)).toBe('refused')
    }
  })

  it.each([
    ['is absent', 'echo "sh: 1: setpriv: not found" >&2; exit 127', '127'],
    ['may not change the user', 'echo "setpriv: setresuid failed: Operation not permitted" >&2; exit 1', '1'],
  ])('counts neither as open nor as shut when setpriv %s', async (_, body, status) => {
    await machine.sh(
      'install -d -m 0750 -g keys /srv/untold; install -m 0400 -o app /dev/null /srv/untold/key',
    )
    const untold = key('/srv/untold/key', { user: 'app' })
    const error = {
      code: 'REMOTE_COMMAND',
      message: expect.stringContaining(`the command ended with status ${status}`),
      detail: expect.stringContaining('setpriv: '),
    }
    await machine.standIn('setpriv', body)
    try {
      await expect(look(untold)).rejects.toMatchObject(error)
      await expect(openFolders(machine.host, [untold], run)).rejects.toMatchObject(error)
    } finally {
      await machine.removeStandIn('setpriv')
    }
    expect(await look(untold)).toMatchObject([{ shut: false }])
  })

  it('counts neither as open nor as shut to a user whom the kernel of the machine rejects', async () => {
    await machine.sh('install -d -m 0750 -g keys /srv/unmapped; touch /srv/unmapped/key')
    await expect(look(key('/srv/unmapped/key', { user: '4000000000' }))).rejects.toMatchObject({
      code: 'REMOTE_COMMAND',
      detail: expect.stringContaining('setpriv: '),
    })
  })
})
