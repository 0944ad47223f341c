import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ownerFile } from '../../../src/core/machine-places.js'
import { surveyMachine } from '../../../src/systems/debian/survey.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'

const owner = '0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01'
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-survey-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function survey() {
  const moved = { [ownerFile]: join(folder, 'owner'), '/etc/os-release': join(folder, 'os-release') }
  return surveyMachine(new LocalShellHost({ moved }), recordingRun())
}

describe('the look at a machine', () => {
  it('reports its system, the family of the system, and its owner', async () => {
    writeFileSync(
      join(folder, 'os-release'),
      'PRETTY_NAME="Mint 22"\nID=linuxmint\nID_LIKE="ubuntu debian"\n',
    )
    writeFileSync(join(folder, 'owner'), `${owner}\n`)
    const seen = await survey()
    expect(seen).toMatchObject({ systems: ['linuxmint', 'ubuntu', 'debian'], owner })
    expect(seen.facts.osRelease).toBe('Mint 22')
    expect(seen.bootId).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
    expect(seen.freeKiB).toBeGreaterThan(0)
  })

  it('reports nothing for missing files', async () => {
    expect(await survey()).toMatchObject({ systems: [], owner: undefined })
  })
})
