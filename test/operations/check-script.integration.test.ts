import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readLook } from '../../src/operations/check.js'
import { targetScript } from '../../src/remote/target-scripts.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-check-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('a unit of an activation that failed is not the fault of the machine, but a unit of a task is', async () => {
  const units = [
    'nginx',
    'hydra-ops-activation-r1',
    'hydra-ops-keep-r1',
    'hydra-ops-guard-r1-long',
    'hydra-ops-nix-gc',
  ]
  const lines = units.map((unit) => `echo '${unit}.service loaded failed failed x'`)
  writeFileSync(join(folder, 'systemctl'), `#!/bin/sh\n${lines.join('\n')}\n`, { mode: 0o755 })
  const host = new LocalShellHost({ bin: folder, moved: {} })
  const signal = new AbortController().signal
  const result = await host.script(targetScript('check'), [], { signal, timeoutMs: 60_000, what: 'look' })
  expect(readLook(result.stdout).failedUnits).toEqual(['nginx.service', 'hydra-ops-nix-gc.service'])
})

it('the last automatic update is reported while the machine has its timer', async () => {
  const moved = Object.fromEntries(
    ['/etc/systemd/system', '/var/lib/hydra-ops'].map((path) => [path, join(folder, path)]),
  )
  for (const path of Object.values(moved)) mkdirSync(join(path, 'auto-update'), { recursive: true })
  const last = { at: '2026-11-29T04:40:00Z', result: 'updated', message: 'updated to evaluation 12' }
  writeFileSync(join(folder, 'var/lib/hydra-ops/auto-update/result.json'), `${JSON.stringify(last)}\n`)
  const host = new LocalShellHost({ moved })
  const signal = new AbortController().signal
  const told = async () =>
    readLook(
      (await host.script(targetScript('check'), [], { signal, timeoutMs: 60_000, what: 'look' })).stdout,
    )
  expect((await told()).autoUpdate).toBeUndefined()
  writeFileSync(join(folder, 'etc/systemd/system/hydra-ops-auto-update.timer'), '')
  expect((await told()).autoUpdate).toEqual(last)
})
