import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { debianTree } from '../fixtures/debian-tree.js'
import { type Ended, type OperatorHost, operatorHost } from './operator.js'

const d = ['-d', 'box']
const everything = ({ stdout, stderr }: Ended) => `${stdout}\n${stderr}`

let operator: OperatorHost
let scratch: string

beforeAll(async () => {
  operator = operatorHost()
  scratch = mkdtempSync(join(tmpdir(), 'ho-debian-'))
  const tree = join(scratch, 'debian')
  await debianTree(tree)
  const store = { NIX_REMOTE: join(operator.state, 'nix') }
  const added = await operator.program(['nix-store', '--add', tree], { env: store })
  expect(added.code, everything(added)).toBe(0)
  want('first', added.stdout.trim())
  // Tests share their images, and an interrupted test may have left an image.
  await operator.run(['image', 'rm', 'nixos'])
  await operator.ok(['create', 'network.nix', ...d])
})
afterAll(async () => {
  await operator?.run(['destroy', ...d, '--yes'])
  // Every change to the stand-in for nixpkgs makes this image useless.
  await operator?.run(['image', 'rm', 'nixos'])
  operator?.dispose()
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true })
})

/** Writes the network: a NixOS machine that names no image, no disk and no driver. */
function want(mark: string, debian: string): void {
  operator.write(
    'network.nix',
    `{
  network.nixpkgs = import ${resolve('test/fixtures/nixpkgs')} { config.debian = "${debian}"; };
  box = {
    deployment.targetEnv = "libvirtd";
    deployment.libvirtd = { memorySize = 768; vcpu = 2; baseImageSize = 4; outbound = false; headless = true; };
    systemd.services.hello = { script = ": ${mark}; exec sleep infinity"; wantedBy = [ "multi-user.target" ]; };
  };
}
`,
  )
}

const deploy = (...flags: string[]) =>
  operator.run(['deploy', ...d, '--yes', '--confirm-timeout', '300', ...flags])
const onBox = (command: string) => operator.ok(['ssh', ...d, 'box', '--', command])

describe('a NixOS machine without an image of the user', () => {
  it('is planned with an image that its own nixpkgs makes, which is called experimental', async () => {
    const plan = await operator.ok(['plan', ...d])
    expect(plan).toMatch(/image +build +nixos from the nixpkgs of the machine \(experimental\)/)
    expect(plan).toMatch(/libvirt +create .*on nixos/)
  })

  it('boots the image, takes its keys and its name from the seed, and runs its own system', async () => {
    const ended = await deploy()
    expect(ended.code, everything(ended)).toBe(0)
    const current = (await onBox('readlink -f /run/current-system')).trim()
    expect(current).toMatch(/-nixos-system-box-/)
    expect(await onBox('readlink -f /nix/var/nix/profiles/system')).toContain(current)
    expect(await onBox('systemctl is-active hello.service')).toContain('active')
    expect((await onBox('cat /proc/sys/kernel/hostname')).trim()).toBe('box')
    // The image's file system is smaller than the wanted disk, and must have grown.
    expect(Number(await onBox('df --output=size -B1M / | tail -1'))).toBeGreaterThan(3500)
    await onBox('nix-store --verify')
    expect(await operator.ok(['info', ...d, '--plain'])).toMatch(/box.*Up \/ Up-to-date/)
    expect(await operator.ok(['image', 'list'])).toMatch(/nixos/)
  })

  it('is left alone by the same deploy', async () => {
    const again = await deploy()
    expect(again.code, everything(again)).toBe(0)
    expect(everything(again)).toContain('Up-to-date')
  })

  it('boots the deployed system from then on, by the boot loader that this system installed', async () => {
    const before = await onBox('cat /proc/sys/kernel/random/boot_id')
    await operator.ok(['reboot', ...d])
    expect(await onBox('cat /proc/sys/kernel/random/boot_id')).not.toBe(before)
    expect(await onBox('readlink -f /run/booted-system')).toMatch(/-nixos-system-box-/)
    expect(await onBox('systemctl is-active hello.service')).toContain('active')
    expect(await operator.ok(['info', ...d, '--plain'])).toMatch(/box.*Up \/ Up-to-date/)
  })
})
