import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { removeBusyFolder } from './remove-folder.js'
import { patience } from './stand-in-host.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-busy-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('a folder is removed although another process goes on to write files there for a while', async () => {
  const writer = spawn(
    'sh',
    ['-c', 'n=0; while [ $n -lt 3000 ]; do n=$((n + 1)); : > "$0/$n"; done', folder],
    {
      stdio: 'ignore',
    },
  )
  const ended = once(writer, 'exit')
  await vi.waitFor(() => expect(existsSync(join(folder, '1'))).toBe(true), patience)
  removeBusyFolder(folder)
  expect(existsSync(folder)).toBe(false)
  await ended
})
