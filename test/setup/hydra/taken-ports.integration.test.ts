import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hydraTask } from '../../../src/setup/hydra/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'

/** The root of a machine with a Hydra package and a PostgreSQL cluster, on which no restart can be recorded. */
let root: string
let host: LocalShellHost
const beyondThePorts = 'mark the services of hydra for a restart'

const program = (path: string, body: string) =>
  writeFileSync(join(root, path), `#!/bin/sh\n${body}\n`, { mode: 0o755 })

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-taken-'))
  for (const folder of ['bin', 'package/bin', 'hydra']) mkdirSync(join(root, folder), { recursive: true })
  for (const name of ['init', 'server', 'evaluator', 'queue-runner', 'create-user'])
    program(`package/bin/hydra-${name}`, 'exit 1')
  program('bin/runuser', 'exit 1')
  writeFileSync(join(root, 'closed'), 'no folder')
  program('bin/pg_lsclusters', 'echo 15 main 5432 online postgres /nowhere /nowhere')
  const moved = { '/var/lib/hydra': join(root, 'hydra'), '/run/hydra-ops': join(root, 'closed') }
  host = new LocalShellHost({ bin: join(root, 'bin'), moved })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Creates an `ss` that reports a listener on a port. */
const listener = (port: number) =>
  program(
    'bin/ss',
    `case $* in *"sport = :${port}") echo 'LISTEN 0 128 127.0.0.1:${port} 0.0.0.0:* users:(("node_exporter",pid=7,fd=3))' ;; esac`,
  )

async function apply(hydra: Record<string, unknown> = {}) {
  const settings = hydraTask.wanted(
    taskMachine({ hydra: { enable: true, package: `/nix/store/${'0'.repeat(32)}-hydra`, ...hydra } }),
  )
  if (settings === undefined) throw new Error('no Hydra is wanted')
  const options = { ...settings.options, package: join(root, 'package') }
  return hydraTask.apply(host, { ...settings, options }, taskRun())
}

describe('the set-up of Hydra', () => {
  it('names the holder and the option when another program has the port of the queue runner’s metrics', async () => {
    listener(9198)
    await expect(apply()).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: "machine 'local': port 9198 is taken by node_exporter (process 7)",
      hint: expect.stringContaining('queue_runner_metrics_address = '),
    })
  })

  it('checks the port that extraConfig names for the metrics, and no longer 9198', async () => {
    const extraConfig = 'queue_runner_metrics_address = [::]:9299'
    listener(9299)
    await expect(apply({ extraConfig })).rejects.toThrow('port 9299 is taken by node_exporter')
    listener(9198)
    await expect(apply({ extraConfig })).rejects.toThrow(beyondThePorts)
  })

  it('goes on when another program has 9198 and the queue runner is too old to listen there', async () => {
    listener(9198)
    writeFileSync(join(root, 'package/bin/.hydra-queue-runner-wrapped'), '\x7fELF\x02without figures')
    await expect(apply()).rejects.toThrow(beyondThePorts)
    writeFileSync(
      join(root, 'package/bin/.hydra-queue-runner-wrapped'),
      '\x7fELF\x02\x00queue_runner_metrics_address\x00',
    )
    await expect(apply()).rejects.toThrow('port 9198 is taken')
  })
})
