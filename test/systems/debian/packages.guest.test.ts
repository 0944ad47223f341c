import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Run } from '../../../src/core/run.js'
import { installPackages, missingPackages } from '../../../src/systems/debian/packages.js'
import { AptRepository, sourcesLine } from '../../fixtures/apt-repository.js'
import { ConnectedGuest, slow } from '../../fixtures/connected-guest.js'

let guest: ConnectedGuest
let repository: AptRepository
let proxy: string
let logged: string[]
let run: Run

beforeAll(async () => {
  guest = await ConnectedGuest.start()
  repository = new AptRepository()
  proxy = `operator:${await repository.listen()}`
  await guest.sh(
    `rm -rf /etc/apt/sources.list.d /etc/apt/sources.list; printf '%s\\n' "$1" > /etc/apt/sources.list`,
    sourcesLine,
  )
})
afterAll(async () => {
  repository?.dispose()
  await guest?.dispose()
})
beforeEach(() => {
  logged = []
  run = { signal: new AbortController().signal, log: (line) => logged.push(line) }
})

function wanted(...own: string[]) {
  return { all: own, own: own.map((each) => each.split('=')[0] ?? '') }
}

function install(...packages: string[]) {
  return installPackages(guest.host, wanted(...packages), { proxy, run })
}

const conffiles = { '/etc/first.conf': 'as shipped\n' }

describe('the packages of a guest without a way out', () => {
  it('come from the operator, who carries them through the ssh connection', async () => {
    repository.publish([{ name: 'first', version: '1', conffiles }])
    expect(await install('first', 'dpkg')).toEqual(['first'])
    expect(await missingPackages(guest.host, wanted('first', 'first=1', 'dpkg'), run)).toEqual([])
    expect(await guest.sh('cat /etc/first.conf /var/lib/hydra-ops/apt-installed')).toBe('as shipped\nfirst')
    expect(repository.asked).toContain('http://packages.invalid/first_1_all.deb')
    expect(await guest.sh('ls -A /run/hydra-ops')).toBe('')
  })

  it('are not fetched when all are installed', async () => {
    repository.asked.length = 0
    expect(await install('first')).toEqual([])
    expect(repository.asked).toEqual([])
  })

  it('come in the requested version, up or down, and keep a file that was changed here', async () => {
    repository.publish([
      { name: 'first', version: '1', conffiles },
      { name: 'first', version: '2', conffiles: { '/etc/first.conf': 'as shipped later\n' } },
    ])
    await guest.sh('echo mine > /etc/first.conf')
    // The current index is fresh but lacks version 2, so apt fetches the index again.
    expect(await install('first=2')).toEqual(['first=2'])
    expect(await guest.sh(`dpkg-query -W -f '\${Version} ' first; cat /etc/first.conf`)).toBe('2 mine')
    expect(await install('first=1')).toEqual(['first=1'])
    expect(await guest.sh(`dpkg-query -W -f '\${Version}' first`)).toBe('1')
  })

  it('are named when no repository has them', async () => {
    await expect(install('no-such-package')).rejects.toMatchObject({
      message: "machine 'guest': the apt sources of the machine do not contain: no-such-package",
    })
  })

  it('are installed to the end when the connection drops, and found complete by the next deploy', async () => {
    const postinst = '#!/bin/sh\nwhile [ -e /run/gate ]; do sleep 0.2; done\n'
    repository.publish([{ name: 'gated', version: '1', postinst }])
    await guest.sh('touch /run/gate')
    const attempt = install('gated').catch((error: unknown) => error)
    await vi.waitFor(() => expect(logged.join('\n')).toContain('Setting up gated'), slow)
    guest.host.close()
    expect(await attempt).toBeInstanceOf(Error)
    await guest.reconnect()
    expect(await missingPackages(guest.host, wanted('gated'), run)).toEqual(['gated'])
    // The second installation waits for the lock of the first installation.
    logged.length = 0
    const second = install('gated')
    await vi.waitFor(() => expect(logged.join('\n')).toContain('waiting for /var/lib/dpkg/lock'), slow)
    await guest.sh('rm /run/gate')
    expect(await second).toEqual(['gated'])
    expect(await missingPackages(guest.host, wanted('gated'), run)).toEqual([])
  })

  it('are mended when the power was cut during their configuration', async () => {
    const postinst = '#!/bin/sh\nwhile [ -e /var/gate ]; do sleep 0.2; done\n'
    repository.publish([{ name: 'cut', version: '1', postinst }])
    await guest.sh('touch /var/gate; sync')
    const attempt = install('cut').catch((error: unknown) => error)
    await vi.waitFor(() => expect(logged.join('\n')).toContain('Setting up cut'), slow)
    await guest.guest.powerCut()
    expect(await attempt).toBeInstanceOf(Error)
    await guest.guest.boot()
    await guest.reconnect()
    await guest.sh('rm /var/gate')
    expect(await install('cut')).toEqual(['cut'])
    expect(await guest.sh('dpkg --audit')).toBe('')
    expect(await guest.sh('cat /var/lib/hydra-ops/apt-installed')).toBe('cut\nfirst\ngated\nno-such-package')
  })
})
