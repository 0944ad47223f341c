import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { endAll, installVBoxManage } from '../fakes/virtualbox/install.js'
import { operatorHost } from './operator.js'

const host = operatorHost()
const d = ['-d', 'box']
const shared = join(host.folder, 'share')
const standIn = installVBoxManage(join(host.folder, 'vbox'))
host.env.HYDRA_OPS_VBOXMANAGE = standIn.program

/** Returns a NixOps network; only `deployment.os` is new. */
function network(memory: number): string {
  return `{
  network.description = "A machine in VirtualBox";
  web = { config, pkgs, ... }: {
    deployment.os = "debian";
    deployment.targetEnv = "virtualbox";
    deployment.virtualbox.memorySize = ${memory}; # megabytes
    deployment.virtualbox.vcpu = 2;
    deployment.virtualbox.headless = true;
    deployment.virtualbox.sharedFolders.share = { hostPath = "${shared}"; readOnly = false; };
    deployment.virtualbox.disks.data = { port = 1; size = 1024; };
  };
}\n`
}

const on = async (...argv: string[]) => (await host.ok(['ssh', ...d, 'web', '--', ...argv])).trim()
const information = z.object({
  uuid: z.uuid(),
  machines: z.array(z.looseObject({ name: z.string(), state: z.string(), currency: z.string().optional() })),
})
const info = async () => information.parse(JSON.parse(await host.ok(['info', ...d, '--json'])))

async function status(): Promise<string[]> {
  const { machines } = await info()
  return machines.map(({ name, state, currency }) => `${name} ${state} / ${currency}`)
}

async function vbox(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await host.program([standIn.program, ...words])
  if (code !== 0) throw new Error(stderr)
  return stdout
}

/** Returns all settings of the machine as VirtualBox shows them. */
async function settings(): Promise<string> {
  const [, uuid = ''] = /\{([0-9a-f-]{36})\}/.exec(await vbox('list', 'vms')) ?? []
  return vbox('showvminfo', uuid, '--machinereadable')
}

/** Returns the guest's memory in MiB, of which the kernel keeps some for itself. */
async function memory(): Promise<number> {
  return Number(await on('awk', "'/MemTotal/ { print int($2 / 1024) }'", '/proc/meminfo'))
}

beforeAll(async () => {
  mkdirSync(shared)
  host.write('network.nix', network(4096))
  await host.ok(['create', 'network.nix', ...d])
})
afterAll(async () => {
  await host.run(['destroy', ...d, '--yes'])
  endAll(standIn)
  host.dispose()
})

it('a NixOps network is planned with the image that has a boot loader, and VirtualBox learns nothing', async () => {
  const plan = await host.ok(['plan', ...d])
  expect(plan).toMatch(
    /web\s+(?:image\s+build\s+debian-12-grub\s+)?virtualbox\s+create\s+4096 MiB, 2 vCPU, 10 GiB on debian-12-grub.*data.*1 GiB/,
  )
  expect(await vbox('list', 'vms')).toBe('')
  expect(await status()).toEqual(['web missing / new'])
})

it('the deployed guest boots by its own disk, has its identity from the seed, and has the wanted form', async () => {
  await host.ok(['deploy', ...d, '--yes'])
  expect(await status()).toEqual(['web up / up-to-date'])
  expect(await on('hostname')).toBe('web')
  expect(await on('cat', '/proc/cmdline')).toMatch(/^BOOT_IMAGE=\/vmlinuz root=UUID=/)
  expect(await on('nproc')).toBe('2')
  expect(await memory()).toBeGreaterThan(3500)
  // The image has only 3 GiB, so the partition and the file system have grown with the disk.
  expect(Number(await on('df', '--output=size', '-BG', '/', '|', 'tr', '-dc', '0-9'))).toBeGreaterThan(8)
  expect(await on('lsblk', '-dbno', 'SIZE')).toContain(String(1024 ** 3))
  expect(await on('systemctl', 'list-units', '--failed', '--plain', '--no-legend')).toBe('')
  // Debian's kernel includes the driver for shared folders.
  expect(await on('modinfo', '-F', 'filename', 'vboxsf')).toContain('vboxsf.ko')
  expect(await settings()).toContain(`SharedFolderPathMachineMapping1="${shared}"`)
})

it('a second deploy changes nothing', async () => {
  const again = await host.run(['deploy', ...d, '--yes'])
  expect(again.code).toBe(0)
  expect(`${again.stdout}${again.stderr}`).toContain('Up-to-date')
})

it('a stopped machine gets other memory, and starts with its data', async () => {
  await on('mkfs.ext4', '-q', '/dev/disk/by-path/*-ata-2', '&&', 'sync')
  await host.ok(['stop', ...d])
  expect(await status()).toEqual(['web stopped / up-to-date'])
  expect(await settings()).toContain('VMState="poweroff"')
  host.write('network.nix', network(2048))
  expect(await host.ok(['plan', ...d])).toMatch(/memory 4096 → 2048 MiB/)
  await host.ok(['deploy', ...d, '--yes'])
  expect(await settings()).toContain('memory=2048')
  const seen = await memory()
  expect(seen).toBeGreaterThan(1600)
  expect(seen).toBeLessThan(2048)
  expect(await on('lsblk', '-dno', 'FSTYPE')).toContain('ext4')
})

it('a snapshot of the running guest brings back its disk and its memory, and the deploy finds nothing to do', async () => {
  const bootId = () => on('cat', '/proc/sys/kernel/random/boot_id')
  const boot = await bootId()
  await on('echo', 'before', '>/srv/file')
  await host.ok(['snapshot', 'create', 'live', ...d])
  expect(await host.ok(['snapshot', 'list', ...d, '--plain'])).toContain('live')
  await on('echo', 'after', '>/srv/file')
  await host.ok(['snapshot', 'restore', 'live', ...d, '--yes'])
  expect(await on('cat', '/srv/file')).toBe('before')
  expect(await bootId()).toBe(boot)
  const again = await host.run(['deploy', ...d, '--yes'])
  expect(again.code).toBe(0)
  expect(`${again.stdout}${again.stderr}`).toContain('Up-to-date')
})

it('destroy leaves nothing of the machine and its snapshot, in the registry of VirtualBox and in the state folder', async () => {
  const { uuid } = await info()
  await host.ok(['destroy', ...d, '--yes'])
  expect(await vbox('list', 'vms')).toBe('')
  expect(await vbox('list', 'hdds')).toBe('')
  expect(existsSync(join(host.state, 'deployments', uuid, 'disks', 'web'))).toBe(false)
  expect(readdirSync(shared)).toEqual([])
})
