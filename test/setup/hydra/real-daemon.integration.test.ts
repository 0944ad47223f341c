import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bindTask } from '../../../src/core/setup-task.js'
import { healthProblems } from '../../../src/setup/hydra/health.js'
import { hydraSettings } from '../../../src/setup/hydra/settings.js'
import { hydraAccountsTask } from '../../../src/setup/hydra/unix-users.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { RootNamespace } from '../../fixtures/root-namespace.js'

/** The health check of Hydra on a real Nix daemon, with the real users of Hydra. */
const run = taskRun()
const definition = taskMachine({ hydra: { enable: true } })
let machine: RootNamespace

beforeAll(async () => {
  machine = await RootNamespace.start()
  await bindTask(hydraAccountsTask)(definition)?.apply(machine.host, run)
  await machine.sh(`setsid env NIX_CONFIG='substituters =' nix-daemon < /dev/null > /run/daemon-log 2>&1 &
for _ in $(seq 200); do [ ! -S /nix/var/nix/daemon-socket/socket ] || exit 0; sleep 0.1; done; exit 1`)
  // A Nix process would also write to the daemon's log.
  await machine.standIn('nix-store', 'echo started >> /run/nix-store-log; exit 1')
})
afterAll(async () => machine?.dispose())

describe('a look at a Hydra beside a real Nix daemon', () => {
  it('proves that each user gets in, starts no Nix, and leaves no fault in the log of the daemon', async () => {
    const settings = hydraSettings(definition)
    if (settings === undefined) throw new Error('no Hydra is wanted')
    const installed = { facts: { runner: 'goes-to-builders' }, environment: {}, databasePort: 5432 } as const
    const problems = await healthProblems(machine.host, settings, installed, run)
    expect(problems.filter((each) => /Nix daemon|nix-store/.test(each))).toEqual([])
    expect(await machine.sh('cat /run/nix-store-log 2> /dev/null || echo none')).toBe('none')
    // The daemon's process for each connection exits after its last message.
    await machine.sh(`for _ in $(seq 200); do
  [ "$(grep -lx nix-daemon /proc/[0-9]*/comm | wc -l)" -gt 1 ] || exit 0; sleep 0.1; done; exit 1`)
    const log = await machine.sh('cat /run/daemon-log')
    expect(log.match(/accepted connection from pid \d+, user \S+/g)).toHaveLength(3)
    expect(log).not.toContain('error')
  })
})
