import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hydraFacts } from '../../../src/setup/hydra/package-facts.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskRun } from '../../fakes/task-run.js'

const run = taskRun()
const host = new LocalShellHost()
let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-package-'))
  for (const program of ['init', 'server', 'evaluator', 'queue-runner', 'create-user'])
    file(`bin/hydra-${program}`, '#!/bin/sh\n', 0o755)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function file(path: string, text: string, mode = 0o644): void {
  mkdirSync(join(root, dirname(path)), { recursive: true })
  writeFileSync(join(root, path), text, { mode })
}

describe('a package of Hydra', () => {
  it('is known by its programs', async () => {
    file('bin/hydra-notify', '#!/bin/sh\n', 0o755)
    file('bin/other', '#!/bin/sh\n', 0o755)
    const { programs } = await hydraFacts(host, root, run)
    expect([...programs].sort()).toEqual([
      ...['hydra-create-user', 'hydra-evaluator', 'hydra-init', 'hydra-notify'],
      ...['hydra-queue-runner', 'hydra-server'],
    ])
  })

  it('without hydra-create-user is refused, and what it lacks is named', async () => {
    rmSync(join(root, 'bin/hydra-create-user'))
    await expect(hydraFacts(host, root, run)).rejects.toMatchObject({
      code: 'PACKAGE',
      message: `machine 'local': ${root} is no package of Hydra: it has no hydra-create-user`,
      hint: expect.stringContaining('deployment.hydra.package'),
    })
  })

  it('whose program may not be run is refused too', async () => {
    chmodSync(join(root, 'bin/hydra-init'), 0o644)
    await expect(hydraFacts(host, root, run)).rejects.toThrow('it has no hydra-init')
  })

  it('that is something else is refused, with all that it lacks', async () => {
    rmSync(join(root, 'bin'), { recursive: true })
    await expect(hydraFacts(host, root, run)).rejects.toThrow(
      'it has no hydra-init, hydra-server, hydra-evaluator, hydra-queue-runner, hydra-create-user',
    )
  })
})
