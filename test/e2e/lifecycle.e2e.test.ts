import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { operatorHost } from './operator.js'

const host = operatorHost()
const d = ['-d', 'life']

interface Wish {
  readonly machines: readonly string[]
  readonly memory?: number
  readonly motd?: string
  readonly key?: string
}

/** Returns the network. `web` gets its identity from a credential, and the other machines get it from a seed disk. */
function network(wish: Wish): string {
  const machine = (name: string) => `
  ${name} = { nodes, ... }: {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    deployment.libvirtd.outbound = false;
    deployment.libvirtd.vcpu = 2;
    deployment.libvirtd.memorySize = ${name === 'web' ? (wish.memory ?? 512) : 512};
    deployment.libvirtd.baseImageIdentity = ${name === 'web' ? 'null' : '"nocloud"'};
    deployment.files."/etc/motd".text = "${wish.motd ?? 'first'}\\n";
    deployment.keys.db-password.text = "${wish.key ?? 'planted-secret-one'}";
  };`
  return `{ network.description = "A whole life";${wish.machines.map(machine).join('\n')}\n}\n`
}

const rows = z.object({
  machines: z.array(z.looseObject({ name: z.string(), state: z.string(), currency: z.string().optional() })),
})

async function statuses(): Promise<Record<string, string>> {
  const { machines } = rows.parse(JSON.parse(await host.ok(['info', ...d, '--json'])))
  return Object.fromEntries(machines.map(({ name, state, currency }) => [name, `${state} / ${currency}`]))
}

/** The UUID of this deployment; the session may also have other guests. */
let uuid: string

async function domains(): Promise<string[]> {
  const { stdout } = await host.program(['virsh', '-c', 'qemu:///session', 'list', '--all', '--name'])
  return stdout.split('\n').filter((name) => name.includes(uuid))
}

describe('the whole life of a network of Debian guests', () => {
  beforeAll(async () => {
    host.write('network.nix', network({ machines: ['web', 'db'] }))
    await host.ok(['create', 'network.nix', ...d])
    uuid = z.object({ uuid: z.uuid() }).parse(JSON.parse(await host.ok(['info', ...d, '--json']))).uuid
  })
  afterAll(async () => {
    await host.run(['destroy', ...d, '--yes'])
    host.dispose()
  })

  it('plans two machines and touches nothing', async () => {
    const plan = await host.ok(['plan', ...d])
    // The plan's line for the first machine may also announce the build of the image.
    expect(plan).toMatch(/^db\s+(?:image\s+build\s+debian-12\s+)?libvirt\s+create/m)
    expect(plan).toMatch(/^web\s+(?:image\s+build\s+debian-12\s+)?libvirt\s+create/m)
    expect(await domains()).toEqual([])
    expect(await statuses()).toEqual({ db: 'missing / new', web: 'missing / new' })
  })

  it('deploys them, and both are up to date', async () => {
    await host.ok(['deploy', ...d, '--yes'])
    expect(await statuses()).toEqual({ db: 'up / up-to-date', web: 'up / up-to-date' })
    expect(await domains()).toHaveLength(2)
  })

  it('lets in by ssh, delivers the key, and one machine finds the other by name', async () => {
    expect(await host.ok(['ssh', ...d, 'web', '--', 'hostname'])).toBe('web\n')
    expect(await host.ok(['ssh', ...d, 'web', '--', 'cat', '/run/keys/db-password'])).toBe(
      'planted-secret-one',
    )
    expect(await host.ok(['ssh', ...d, 'web', '--', 'ping', '-c1', '-W10', 'db'])).toContain('1 received')
    expect(await host.ok(['ssh-for-each', ...d, '--', 'hostname'])).toMatch(/web.*web/)
  })

  it('changes nothing the second time', async () => {
    const report = await host.run(['deploy', ...d, '--yes'])
    expect(report.code).toBe(0)
    expect(`${report.stdout}${report.stderr}`).toContain('Up-to-date')
    const plan = await host.run(['plan', ...d])
    expect(`${plan.stdout}${plan.stderr}`).not.toMatch(/create|change|copy|add|replace|remove/)
  })

  it('brings a changed file and a changed key to the machines', async () => {
    host.write('network.nix', network({ machines: ['web', 'db'], motd: 'second', key: 'planted-secret-two' }))
    expect(await statuses()).toEqual({ db: 'up / outdated', web: 'up / outdated' })
    await host.ok(['deploy', ...d, '--yes'])
    expect(await host.ok(['ssh', ...d, 'db', '--', 'cat', '/etc/motd', '/run/keys/db-password'])).toBe(
      'second\nplanted-secret-two',
    )
  })

  it('announces that more memory needs a restart, and restarts when that is allowed', async () => {
    const wish = { machines: ['web', 'db'], motd: 'second', key: 'planted-secret-two', memory: 640 }
    host.write('network.nix', network(wish))
    expect(await host.ok(['plan', ...d])).toMatch(/memory 512 → 640 MiB.*restart/)
    await host.ok(['deploy', ...d, '--yes', '--allow-reboot'])
    const total = await host.ok(['ssh', ...d, 'web', '--', 'grep MemTotal /proc/meminfo'])
    expect(Number(/\d+/.exec(total)?.[0])).toBeGreaterThan(540 * 1024)
    // The restart emptied /run, and the same deploy sent the key again.
    expect(await host.ok(['ssh', ...d, 'web', '--', 'cat', '/run/keys/db-password'])).toBe(
      'planted-secret-two',
    )
  })

  it('adds a third machine and lets a removed one be obsolete until it is killed', async () => {
    host.write('network.nix', network({ machines: ['web', 'extra'], motd: 'second', memory: 640 }))
    await host.ok(['deploy', ...d, '--yes'])
    expect(await statuses()).toMatchObject({
      extra: 'up / up-to-date',
      db: expect.stringContaining('obsolete'),
    })
    await host.ok(['deploy', ...d, '--yes', '--kill-obsolete'])
    expect(Object.keys(await statuses())).toEqual(['extra', 'web'])
    expect(await domains()).toHaveLength(2)
  })

  it('stops, starts and reboots, and sends the keys of /run again', async () => {
    await host.ok(['stop', ...d, '--include', 'extra'])
    expect(await statuses()).toMatchObject({ extra: expect.stringContaining('stopped') })
    await host.ok(['start', ...d, '--include', 'extra'])
    const bootId = () => host.ok(['ssh', ...d, 'extra', '--', 'cat', '/proc/sys/kernel/random/boot_id'])
    const before = await bootId()
    await host.ok(['reboot', ...d, '--include', 'extra'])
    expect(await bootId()).not.toBe(before)
    expect(await host.ok(['ssh', ...d, 'extra', '--', 'cat', '/run/keys/db-password'])).toBe(
      'planted-secret-one',
    )
  })

  it('leaves nothing behind after destroy and delete', async () => {
    await host.ok(['destroy', ...d, '--yes'])
    expect(await domains()).toEqual([])
    await host.ok(['delete', ...d, '--yes'])
    const deployments = join(host.state, 'deployments')
    expect(existsSync(deployments) ? readdirSync(deployments) : []).toEqual([])
    const roots = await host.program(['nix-store', '--gc', '--print-roots'], {
      env: { NIX_REMOTE: join(host.state, 'nix') },
    })
    expect(roots.stdout).not.toContain('deployments')
  })
})
