import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { bindProvider } from '../../src/core/bind-provider.js'
import { interrupted } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { consoleLog, lastBoot, openConsole } from '../../src/operations/console.js'
import { imagesInUse } from '../../src/operations/images.js'
import { copyFiles } from '../../src/operations/scp.js'
import { printSshConfig } from '../../src/operations/ssh-config.js'
import { sshForEach } from '../../src/operations/ssh-for-each.js'
import { sshSession } from '../../src/operations/ssh-session.js'
import { type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { createFakeProvider } from '../fakes/fake-provider.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { type Deployed, deployed } from './deployed.js'

let world: Deployed
let ops: FakeOps

beforeEach(async () => {
  world = await deployed()
  ops = world.ops
})
afterEach(() => ops.cleanup())

describe('ssh', () => {
  const session = (who: string, ...args: string[]) => sshSession(ops, { deployment: undefined, who, args })

  it('hands the terminal to the system’s ssh with a configuration of its own, and returns its status', async () => {
    expect(await session('alice@web', '-t', '--', 'echo $HOME')).toBe(7)
    const [argv = []] = world.ran
    const config = argv[2] ?? ''
    expect(argv).toEqual(['ssh', '-F', config, '-l', 'alice', '-t', '--', 'web', 'echo $HOME'])
    expect(readFileSync(config, 'utf8')).toContain('Host web')
    expect(readFileSync(config, 'utf8')).not.toContain('Host db')
    expect(statSync(config).mode & 0o777).toBe(0o600)
  })

  it('refuses a wrong name before any connection', async () => {
    await expect(session('wbe')).rejects.toMatchObject({ exitCode: 2, hint: "did you mean 'web'?" })
    expect(world.ran).toEqual([])
  })

  it('returns 4 for a machine that does not exist yet, or has an unknown host key', async () => {
    await world.change('web', { handle: undefined })
    await world.change('db', { hostKey: undefined })
    await expect(session('web')).rejects.toMatchObject({ exitCode: 4 })
    await expect(session('db')).rejects.toMatchObject({ exitCode: 4 })
    expect(world.ran).toEqual([])
  })

  it('writes its configuration only when it differs', async () => {
    await session('web')
    const file = world.ran[0]?.[2] ?? ''
    const { mtimeMs, ino } = statSync(file)
    await session('web')
    expect(statSync(file)).toMatchObject({ mtimeMs, ino })
  })
})

describe('scp', () => {
  it('copies through the system’s scp, also from machine to machine', async () => {
    const request = { deployment: undefined, from: undefined, to: undefined }
    expect(await copyFiles(ops, { ...request, paths: ['web:/etc/hosts', '.'] })).toBe(7)
    await copyFiles(ops, { ...request, to: 'web', paths: ['a:b', '/tmp'] })
    await copyFiles(ops, { ...request, paths: ['root@web:/a', 'db:/b'] })
    expect(world.ran.map((argv) => argv.filter((word) => !word.endsWith('.config')))).toEqual([
      ['scp', '-r', '-F', '--', 'web:/etc/hosts', '.'],
      ['scp', '-r', '-F', '--', './a:b', 'web:/tmp'],
      ['scp', '-r', '-3', '-F', '--', 'root@web:/a', 'db:/b'],
    ])
  })

  it('refuses an unknown machine', async () => {
    const request = { deployment: undefined, from: undefined, to: undefined }
    await expect(copyFiles(ops, { ...request, paths: ['wbe:/x', '.'] })).rejects.toMatchObject({
      exitCode: 2,
    })
    expect(world.ran).toEqual([])
  })
})

describe('ssh-config', () => {
  it('has every machine, and an existing known_hosts', async () => {
    const { text, file, left } = await printSshConfig(ops, { deployment: undefined, selection: {} })
    expect(text).toContain('Host web')
    expect(text).toContain('Host db')
    expect(left).toEqual([])
    const knownHosts = /UserKnownHostsFile (.*)/.exec(text)?.[1] ?? ''
    expect(knownHosts.startsWith('/')).toBe(true)
    expect(readFileSync(knownHosts, 'utf8')).toContain('web ssh-ed25519')
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  it('leaves out machines that cannot be reached yet, and says so', async () => {
    await world.change('web', { handle: undefined })
    const { text, left } = await printSshConfig(ops, { deployment: undefined, selection: {} })
    expect(text).not.toContain('Host web')
    expect(left).toEqual([{ machine: 'web', why: "machine 'web' does not exist yet" }])
  })

  it.each([interrupted(), new TypeError('a bug')])(
    'ends with %s of a provider, and does not call the machine unreachable',
    async (error) => {
      const { machines } = await ops.store.resolve(undefined)
      const provider = machines[MachineName.parse('web')]?.provider ?? ''
      vi.spyOn(ops.providers.named(provider), 'target').mockRejectedValue(error)
      await expect(printSshConfig(ops, { deployment: undefined, selection: {} })).rejects.toBe(error)
    },
  )
})

describe('ssh-for-each', () => {
  const lines: string[] = []
  const each = (on: string | undefined, ...command: string[]) =>
    sshForEach(ops, {
      deployment: undefined,
      selection: { on },
      command,
      maxConcurrent: 2,
      onLine: (name, line, stream) => lines.push(`${name} ${stream} ${line}`),
    })

  it('runs the command as the login user on every machine, and reports how each ended', async () => {
    ops.ssh.answer('run the command', ({ machine: name }) => (name === 'web' ? exit(3, 'no') : succeed('ok')))
    const results = await each(undefined, 'uptime', '|', 'cat')
    expect(results.map(({ machine: name, status }) => [name, status]).sort()).toEqual([
      ['db', 0],
      ['web', 3],
    ])
    const [exec] = ops.ssh.execs
    expect(exec).toMatchObject({ script: 'uptime | cat', asLoginUser: true })
  })

  it('needs no root on the machines', async () => {
    ops.ssh.answer('run the command', succeed('ok'))
    ops.ssh.sudoless.add('web')
    expect(await each('web', 'uptime')).toMatchObject([{ machine: 'web', status: 0 }])
  })

  it('reports a signal as a shell would, and a missing connection as 255', async () => {
    ops.ssh.answer('run the command', ({ machine: name }) =>
      name === 'web'
        ? { kind: 'killed', signal: 'KILL', stdout: '', stderr: '' }
        : { kind: 'lost', stdout: '', stderr: '' },
    )
    expect((await each('web', 'x')).map((result) => result.status)).toEqual([137])
    expect((await each('db', 'x')).map((result) => result.status)).toEqual([255])
    ops.hypervisor.stop(world.resourceName('db'))
    lines.length = 0
    expect((await each('db', 'x')).map((result) => result.status)).toEqual([255])
    expect(lines).toEqual(["db stderr machine 'db' does not answer"])
  })

  it('selects by tag with one cheap evaluation', async () => {
    ops.ssh.answer('run the command', succeed())
    expect((await each('@front', 'x')).map((result) => result.machine)).toEqual(['web'])
    expect(ops.nix.evaluations.map((evaluation) => evaluation.mode)).toEqual(['shape'])
    await expect(each('@nobody', 'x')).rejects.toMatchObject({ exitCode: 2 })
  })
})

describe('console', () => {
  it('hands the terminal to the command of the provider', async () => {
    expect(await openConsole(ops, { deployment: undefined, machine: 'web' })).toBe(7)
    expect(world.ran).toEqual([['echo', `console of ${world.resourceName('web')}`]])
  })

  it('shows the log when there is one', async () => {
    const request = { deployment: undefined, machine: 'web' }
    await expect(consoleLog(ops, request)).rejects.toThrow("there is no console log of machine 'web' yet")
    const { console: folder } = ops.files.paths((await ops.store.resolve(undefined)).uuid)
    if (!existsSync(dirname(folder))) throw new Error('the deployment has no folder')
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/web.log`, 'Linux version 6.1\n')
    expect(await consoleLog(ops, request)).toBe('Linux version 6.1\n')
  })

  it.each([
    ['no boot at all', 'login: \n', 'login: \n'],
    [
      'one boot',
      'SeaBIOS (1.16)\n[0.0] Linux version 6\nlogin:',
      'SeaBIOS (1.16)\n[0.0] Linux version 6\nlogin:',
    ],
    [
      'two boots',
      'SeaBIOS\nLinux version 6\nx\nSeaBIOS\nLinux version 6\ny\n',
      'SeaBIOS\nLinux version 6\ny\n',
    ],
    [
      'two boots without firmware',
      '[0] Linux version 6\nx\n[0] Linux version 6\ny\n',
      '[0] Linux version 6\ny\n',
    ],
    [
      'firmware of the first boot only',
      'SeaBIOS\nLinux version 6\nx\nLinux version 6\ny\n',
      'Linux version 6\ny\n',
    ],
  ])('shows the log of the last boot, with %s', (_, text, expected) => {
    expect(lastBoot(text)).toBe(expected)
  })

  it('is refused for providers without a console', async () => {
    const { console: _, ...rest } = createFakeProvider(ops.hypervisor)
    Object.assign(ops, { providers: fakeRegistry([bindProvider(rest)]) })
    await expect(consoleLog(ops, { deployment: undefined, machine: 'web' })).rejects.toThrow(
      'provider fake offers none',
    )
  })
})

describe('the list of images', () => {
  it('counts an image under a machine as in use', async () => {
    expect([...(await imagesInUse(ops))]).toEqual(['fake-image'])
  })

  it('never counts an image as free while a state is damaged, a machine half made, or its provider missing', async () => {
    const refused = async (why: string) =>
      await expect(imagesInUse(ops)).rejects.toThrow(
        expect.objectContaining({ code: 'IMAGE_IN_USE', message: expect.stringContaining(why) }),
      )
    await world.change('web', { provider: 'gone' })
    await refused('provider gone is not loaded')
    await world.change('web', {
      provider: 'fake',
      handle: undefined,
      intent: { action: 'create', resource: 'x', since: 'now' },
    })
    await refused('the creation of the machine has not finished')
    writeFileSync(join(ops.files.paths((await ops.store.resolve(undefined)).uuid).root, 'state.json'), '{')
    await refused('cannot determine which machines use an image')
  })
})
