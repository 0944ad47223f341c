import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AptRelay } from '../fixtures/apt-relay.js'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { hydraOperator } from './hydra-operator.js'
import type { SshOperator } from './ssh-operator.js'

/** An emulated processor unpacks and sets up hundreds of packages. */
const deployMs = 45 * 60_000

let guest: Guest
let operator: SshOperator
let relay: AptRelay

beforeAll(async () => {
  relay = new AptRelay()
  const port = await relay.listen()
  guest = await startGuest({ name: 'ci', image: 'debian-12-bare' })
  operator = await hydraOperator(guest, 'from-a-file-5Yh', {
    machine: `deployment.aptProxy = "operator:${port}";`,
  })
})
afterAll(async () => {
  await guest?.dispose()
  operator?.dispose()
  relay?.dispose()
})

describe('a Hydra on a system without Nix, PostgreSQL and nginx', () => {
  it('is installed by apt through the operator, builds, signs, and lets its admin in', async () => {
    const before = await guest.ssh(['sh', '-c', 'command -v nix-store psql nginx'])
    expect(before).toMatchObject({ stdout: '' })
    await operator.ok(['deploy', '-d', 'ci'], { timeoutMs: deployMs })
    expect(relay.asked.some((url) => url.includes('/postgresql-15_'))).toBe(true)
    // The check logs in as Hydra's admin at the published URL, through nginx. The check's build succeeds and is signed.
    const verified = await operator.run(['setup', 'verify', '-d', 'ci'], { timeoutMs: deployMs })
    expect(verified).toMatchObject({ code: 0, stderr: expect.stringContaining('hydra-proof: verified') })
  })

  it('no longer needs apt', async () => {
    relay.asked.length = 0
    const stdout = await operator.ok(['deploy', '-d', 'ci'], { timeoutMs: deployMs })
    expect(stdout).toContain('Up-to-date: nothing was changed')
    expect(relay.asked).toEqual([])
  })
})
