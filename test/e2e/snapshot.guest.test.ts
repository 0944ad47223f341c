import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { operatorHost } from './operator.js'

const host = operatorHost()
const d = ['-d', 'snap']
const dropped = 'planted-secret-of-before'

function network({ motd, keys }: { readonly motd: string; readonly keys: string }): string {
  return `{
  web = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    deployment.libvirtd.outbound = false;
    deployment.libvirtd.vcpu = 2;
    deployment.libvirtd.memorySize = 512;
    deployment.files."/etc/motd".text = "${motd}\\n";
    ${keys}
  };
}\n`
}

const before = network({ motd: 'before', keys: `deployment.keys.old.text = "${dropped}";` })
const after = network({ motd: 'after', keys: 'deployment.keys.new.text = "planted-secret-of-after";' })

const on = (...argv: string[]) => host.ok(['ssh', ...d, 'web', '--', ...argv])
const bootId = () => on('cat', '/proc/sys/kernel/random/boot_id')
const snapshots = async () =>
  z
    .array(z.looseObject({ name: z.string(), memory: z.boolean() }))
    .parse(JSON.parse(await host.ok(['snapshot', 'list', ...d, '--json'])))
    .map(({ name, memory }) => `${name} ${memory ? 'with' : 'without'} memory`)

/** Returns the seconds between the guest's clock and the host's clock. */
async function clockError(): Promise<number> {
  return Math.abs(Date.now() / 1000 - Number(await on('date', '+%s')))
}

beforeAll(async () => {
  host.write('network.nix', before)
  await host.ok(['create', 'network.nix', ...d])
  await host.ok(['deploy', ...d, '--yes'])
  // A process exists only in memory.
  await on("nohup sh -c 'while :; do sleep 1; done' >/dev/null 2>&1 & echo $! >/srv/pid")
  await on('echo before >/srv/file')
})
afterAll(async () => {
  await host.run(['destroy', ...d, '--yes'])
  host.dispose()
})

it('a live snapshot is made while the guest runs, and goes on running', async () => {
  const boot = await bootId()
  await host.ok(['snapshot', 'create', 'live', ...d, '--description', 'all is well'])
  expect(await snapshots()).toEqual(['live with memory'])
  expect(await bootId()).toBe(boot)
})

it('a restore brings back disk, memory and the record, and sets the clock', async () => {
  const boot = await bootId()
  const pid = (await on('cat', '/srv/pid')).trim()
  host.write('network.nix', after)
  await host.ok(['deploy', ...d, '--yes'])
  await on('echo after >/srv/file')
  await on('kill', pid)
  expect((await host.run(['ssh', ...d, 'web', '--', 'kill', '-0', pid])).code).not.toBe(0)

  const refused = await host.run(['snapshot', 'restore', 'live', ...d])
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toMatch(
    /web: a restore loses all changes since .*1 generation was deployed since; the machine is running/,
  )
  expect((await on('cat', '/srv/file')).trim()).toBe('after')

  await host.ok(['snapshot', 'restore', 'live', ...d, '--yes'])
  expect(await bootId()).toBe(boot)
  expect((await on('cat', '/srv/file', '/etc/motd')).trim()).toBe('before\nbefore')
  // The process runs again; neither a boot nor the disk could restore a process.
  await on('kill', '-0', pid)
  expect(await on('cat', '/run/keys/old')).toBe(dropped)
  expect(await clockError()).toBeLessThan(60)
})

it('the next deploy finds what is true: it brings the newer file, and removes the key that came back', async () => {
  const plan = await host.ok(['plan', ...d])
  expect(plan).toMatch(/closure|files/)
  await host.ok(['deploy', ...d, '--yes'])
  expect((await on('cat', '/etc/motd')).trim()).toBe('after')
  expect(await on('cat', '/run/keys/new')).toBe('planted-secret-of-after')
  expect((await host.run(['ssh', ...d, 'web', '--', 'cat', '/run/keys/old'])).code).not.toBe(0)
  const again = await host.run(['deploy', ...d, '--yes'])
  expect(`${again.stdout}${again.stderr}`).toContain('Up-to-date')
})

it('a snapshot of the guest when it is off is restored by a boot, with its keys in /run', async () => {
  await host.ok(['stop', ...d])
  await host.ok(['snapshot', 'create', 'off', ...d])
  expect(await snapshots()).toEqual(['live with memory', 'off without memory'])
  await host.ok(['snapshot', 'restore', 'live', ...d, '--yes'])
  await on('echo later >/srv/file')
  await host.ok(['snapshot', 'restore', 'off', 'web', ...d, '--yes'])
  expect((await on('cat', '/srv/file')).trim()).toBe('before')
  expect(await on('cat', '/run/keys/new')).toBe('planted-secret-of-after')
})

it('a deleted snapshot is gone, and destroy removes the others with the guest', async () => {
  await host.ok(['snapshot', 'delete', 'live', ...d, '--yes'])
  expect(await snapshots()).toEqual(['off without memory'])
  const uuid = z.object({ uuid: z.uuid() }).parse(JSON.parse(await host.ok(['info', ...d, '--json']))).uuid
  await host.ok(['destroy', ...d, '--yes'])
  const { stdout } = await host.program(['virsh', '-c', 'qemu:///session', 'list', '--all', '--name'])
  expect(stdout).not.toContain(uuid)
  expect(existsSync(join(host.state, 'deployments', uuid, 'disks', 'web'))).toBe(false)
})
