import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readSystem } from '../../../src/systems/nixos/system-files.js'

let root: string
let system: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-system-'))
  system = join(root, 'nix/store/a-nixos-system')
  mkdirSync(system, { recursive: true })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

it('reads a system in a store below another root, with the paths that the machine will have', async () => {
  mkdirSync(join(root, 'nix/store/k-linux'))
  writeFileSync(join(root, 'nix/store/k-linux/bzImage'), '')
  symlinkSync('/nix/store/k-linux/bzImage', join(system, 'kernel'))
  symlinkSync('/nix/store/gone', join(system, 'initrd'))
  writeFileSync(join(system, 'systemd'), '')
  writeFileSync(join(system, 'nixos-version'), '24.11.1.abc\n')
  writeFileSync(join(system, 'switch-inhibitors'), '{"dbus":"/nix/store/d"}')
  const { version, parts, inhibitors } = await readSystem(system)
  expect(version).toBe('24.11.1.abc')
  expect([...parts]).toEqual([
    ['kernel', '/nix/store/k-linux/bzImage'],
    ['systemd', '/nix/store/a-nixos-system/systemd'],
  ])
  expect([...inhibitors]).toEqual([['dbus', '/nix/store/d']])
})

it('reads nothing from a folder that is not a system', async () => {
  expect(await readSystem(system)).toEqual({ version: undefined, parts: new Map(), inhibitors: new Map() })
})

it('does not follow a circle of links forever', async () => {
  symlinkSync('/nix/store/a-nixos-system/initrd', join(system, 'kernel'))
  symlinkSync('/nix/store/a-nixos-system/kernel', join(system, 'initrd'))
  expect((await readSystem(system)).parts.size).toBe(0)
})
