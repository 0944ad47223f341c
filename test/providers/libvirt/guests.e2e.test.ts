import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../providers/common/ports.js'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import { MachineName } from '../../../src/core/names.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { createImageStore } from '../../../src/images/store.js'
import { openSession, type Session } from './session.js'

/** A boot takes 11 to 40 s under emulation; other programs may use the cores too. */
const bootMs = 300_000

const guest = { memorySize: 512, vcpu: 2, baseImageSize: 4, outbound: false, baseImage: 'debian-12' }
const options = { allowRestart: false, allowRecreate: false, checkpoint: async () => {} }

let session: Session
let web: LibvirtResource
let db: LibvirtResource
let webPort: number

async function ssh(resource: LibvirtResource, command: string): Promise<CommandResult> {
  const target = await session.provider.target(resource, session.run)
  const knownHosts = join(session.folder, `${resource.machine}.known_hosts`)
  writeFileSync(knownHosts, `[127.0.0.1]:${target.port} ${target.hostKey}\n`)
  const settings = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${knownHosts}`,
    'IdentitiesOnly=yes',
    'ConnectTimeout=5',
  ].flatMap((setting) => ['-o', setting])
  const login = [
    '-F',
    'none',
    '-i',
    String(target.identityFiles[0]),
    '-p',
    String(target.port),
    'root@127.0.0.1',
  ]
  return localCommands.run(['ssh', ...settings, ...login, command], {
    signal: session.run.signal,
    timeoutMs: 60_000,
    what: command,
  })
}

async function inGuest(resource: LibvirtResource, command: string): Promise<string> {
  const result = await ssh(resource, command)
  if (result.kind === 'exited' && result.code === 0) return result.stdout.trim()
  throw new Error(`${resource.machine}: ${command}: ${JSON.stringify(result)}\n${consoleTail(resource)}`)
}

function consoleTail(resource: LibvirtResource): string {
  return existsSync(resource.console)
    ? readFileSync(resource.console, 'latin1').slice(-3_000)
    : 'no console log'
}

async function until(what: string, milliseconds: number, done: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + milliseconds
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${milliseconds / 1000} s`)
    await sleep(250)
  }
}

async function reachable(resource: LibvirtResource): Promise<void> {
  try {
    await until(`${resource.machine} answers`, bootMs, async () => {
      const result = await ssh(resource, 'true')
      return result.kind === 'exited' && result.code === 0
    })
  } catch (error) {
    throw new Error(`${error}\n${consoleTail(resource)}`)
  }
}

async function reconciled(resource: LibvirtResource): Promise<LibvirtResource> {
  return { ...resource, handle: await session.provider.reconcile(resource, options, session.run) }
}

async function rootKiB(resource: LibvirtResource): Promise<number> {
  return Number(await inGuest(resource, "df -Pk / | awk 'NR == 2 { print $2 }'"))
}

async function answers(port: number): Promise<boolean> {
  try {
    // A connection that stays open outlives its forwarded port.
    const options = { headers: { connection: 'close' }, signal: AbortSignal.timeout(5_000) }
    return (await fetch(`http://127.0.0.1:${port}/`, options)).ok
  } catch {
    return false
  }
}

describe('two Debian guests with a LAN', () => {
  beforeAll(async () => {
    const root = join(homedir(), '.cache', 'hydra-ops-test', 'images')
    mkdirSync(root, { recursive: true })
    const images = createImageStore({ root, local: localCommands })
    const run = { signal: new AbortController().signal, log: () => {} }
    session = await openSession({ image: await images.ensure('debian-12', run) })
    webPort = await freePort(new Set(), 28_000)
    web = await session.makeResource({ ...guest, forwardPorts: [{ host: webPort, guest: 80 }] })
    db = await session.makeResource(guest, {
      deployment: web.deployment,
      machine: MachineName.parse('db'),
      index: 2,
    })
    for (const resource of [web, db]) {
      expect(await session.provider.plan(resource, session.run)).toEqual([
        { action: 'create', detail: '512 MiB, 2 vCPU, 4 GiB on debian-12', needs: 'nothing' },
      ])
    }
    web = await reconciled(web)
    db = await reconciled(db)
    for (const resource of [web, db]) await session.provider.start(resource, session.run)
    await Promise.all([web, db].map(reachable))
  })

  afterAll(async () => {
    for (const resource of [web, db]) {
      if (resource !== undefined) await session.provider.destroy(resource, session.run)
    }
    session?.dispose()
  })

  it('have the host key and the name that were decided before they existed', async () => {
    expect(await inGuest(web, 'hostname; cat /etc/hostname')).toBe(`${web.machine}\n${web.machine}`)
    expect(await inGuest(db, 'hostname')).toBe('db')
    expect(await inGuest(db, 'cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub')).toBe(db.hostKey)
  })

  it('have no failed unit, and a root file system as large as their disk', async () => {
    for (const resource of [web, db]) {
      expect(await inGuest(resource, 'systemctl list-units --failed --no-legend --plain')).toBe('')
      expect(await rootKiB(resource)).toBeGreaterThan(3.7 * 1024 ** 2)
    }
  })

  it('let nobody in by a password, and root only by its key', async () => {
    const settings = await inGuest(web, 'sshd -T')
    expect(settings).toContain('passwordauthentication no')
    expect(settings).toContain('kbdinteractiveauthentication no')
    expect(settings).toContain('permitrootlogin without-password')
  })

  it('reach each other by their LAN address, and nothing else when outbound is false', async () => {
    const [a, b] = [web, db].map(({ allocation }) => allocation.lan?.address ?? 'none')
    expect(await inGuest(web, `ping -c1 -W10 ${b}`)).toContain('1 received')
    expect(await inGuest(db, `ping -c1 -W10 ${a}`)).toContain('1 received')
    expect(await inGuest(web, 'ip -4 route show default')).toBe('')
    // The operator host's own loopback is not reachable either; QEMU would show it at 10.0.2.2.
    const server = createServer((socket) => socket.end('seen')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const attempt = `timeout 10 bash -c 'exec 3<>/dev/tcp/10.0.2.2/${port}; cat <&3' || echo refused`
    expect(await inGuest(web, attempt)).toBe('refused')
    server.close()
  })

  it('publish a web port on the loopback of the operator host', async () => {
    await inGuest(web, 'systemctl start nginx')
    await until('the published port answers', 30_000, () => answers(webPort))
    expect(session.provider.publishedUrls(web.config, web.allocation)).toEqual([
      `http://127.0.0.1:${webPort}/`,
    ])
  })

  it('get and lose forwarded ports while they run', async () => {
    const other = await freePort(new Set([webPort]), 28_500)
    const forwardPorts = [{ host: other, guest: 80 }]
    const moved: LibvirtResource = {
      ...web,
      config: LibvirtConfig.parse({ ...web.config, forwardPorts }),
      allocation: { ...web.allocation, forwardPorts },
    }
    expect(await session.provider.plan(moved, session.run)).toEqual([
      { action: 'change', detail: `port 127.0.0.1:${webPort} → :80 closed`, needs: 'nothing' },
      { action: 'change', detail: `port 127.0.0.1:${other} → :80 opened`, needs: 'nothing' },
    ])
    web = await reconciled(moved)
    expect(await session.provider.plan(web, session.run)).toEqual([])
    await until('the new port answers', 30_000, () => answers(other))
    expect(await answers(webPort)).toBe(false)
  })

  it('keep their memory until they are started again, and the plan says so until then', async () => {
    const config = LibvirtConfig.parse({ ...web.config, memorySize: 640 })
    const change = { action: 'change', detail: 'memory 512 → 640 MiB', needs: 'restart' }
    const wanted = { ...web, config }
    expect(await session.provider.plan(wanted, session.run)).toEqual([change])
    web = await reconciled(wanted)
    expect(await session.provider.plan(web, session.run)).toEqual([change])
    await session.provider.stop(web, { graceMs: 60_000 }, session.run)
    expect(session.logged).not.toContainEqual(expect.stringContaining('its power is cut now'))
    await session.provider.start(web, session.run)
    await reachable(web)
    expect(await session.provider.plan(web, session.run)).toEqual([])
    const total = /\d+/.exec(await inGuest(web, 'grep MemTotal /proc/meminfo'))?.[0]
    expect(Number(total)).toBeGreaterThan(540 * 1024)
  })

  it('get a larger disk while they run, and never a smaller one', async () => {
    const sized = (size: number) => ({
      ...web,
      config: LibvirtConfig.parse({ ...web.config, baseImageSize: size }),
    })
    expect(await session.provider.plan(sized(6), session.run)).toEqual([
      { action: 'change', detail: 'disk 4 GiB → 6 GiB', needs: 'nothing' },
    ])
    web = await reconciled(sized(6))
    await inGuest(web, 'resize2fs "$(findmnt -no SOURCE /)"')
    expect(await rootKiB(web)).toBeGreaterThan(5.6 * 1024 ** 2)
    expect(await session.provider.plan(web, session.run)).toEqual([])
    await expect(session.provider.plan(sized(5), session.run)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('cannot shrink to 5 GiB'),
    })
  })

  it('keep their identity after a power cut during the first minutes', async () => {
    await session.virsh('destroy', db.name)
    expect(await session.provider.inspect(db, session.run)).toMatchObject({ kind: 'stopped' })
    await session.provider.start(db, session.run)
    await reachable(db)
    expect(await inGuest(db, 'hostname')).toBe('db')
  })

  it('keep the console output of every boot', () => {
    const log = readFileSync(session.provider.console?.logFile(db) ?? '', 'latin1')
    expect(log.match(/db login:/g)?.length).toBeGreaterThanOrEqual(2)
  })

  it('leave nothing behind', async () => {
    for (const resource of [web, db]) await session.provider.destroy(resource, session.run)
    expect(await session.virsh('list', '--all', '--name')).not.toContain(web.deployment.uuid)
    const root = join(session.deployments, web.deployment.uuid)
    expect(readdirSync(root)).toEqual(['keys'])
  })
})
