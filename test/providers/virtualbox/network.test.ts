import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  allowedRanges,
  isWithin,
  parseAdapters,
  refuseHostOnly,
} from '../../../providers/virtualbox/host-only.js'
import { lostPorts, ruleSteps } from '../../../providers/virtualbox/network.js'
import { createVBoxManage } from '../../../providers/virtualbox/vboxmanage.js'
import { transcript } from './transcripts.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-vbox-net-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const rule = (name: string, host: number, guest: number, hostIp = '127.0.0.1') => ({
  name,
  protocol: 'tcp',
  hostIp,
  host,
  guest,
})

describe('the steps to the wanted rules of NAT', () => {
  const wanted = [
    { host: 24_231, guest: 22 },
    { host: 8080, guest: 80 },
  ]

  it('are none where the rules are right, in any order', () => {
    const rules = [rule('hydra-ops-80-8080', 8080, 80), rule('ssh', 24_231, 22)]
    expect(ruleSteps({ rules }, wanted, 24_231)).toEqual([])
  })

  it('add what is missing and remove what is too much, removals first', () => {
    const rules = [rule('ssh', 20_000, 22), rule('hydra-ops-81-8081', 8081, 81)]
    expect(ruleSteps({ rules }, wanted, 24_231)).toEqual([
      ['delete', 'ssh'],
      ['delete', 'hydra-ops-81-8081'],
      ['ssh,tcp,127.0.0.1,24231,,22'],
      ['hydra-ops-80-8080,tcp,127.0.0.1,8080,,80'],
    ])
  })

  it('leave the rules of the user alone', () => {
    const rules = [rule('mine', 9000, 90), rule('ssh', 24_231, 22), rule('hydra-ops-80-8080', 8080, 80)]
    expect(ruleSteps({ rules }, wanted, 24_231)).toEqual([])
  })

  it('replace a rule of ours that somebody opened to the network', () => {
    const rules = [rule('ssh', 24_231, 22, ''), rule('hydra-ops-80-8080', 8080, 80)]
    expect(ruleSteps({ rules }, wanted, 24_231)).toEqual([['delete', 'ssh'], ['ssh,tcp,127.0.0.1,24231,,22']])
  })
})

describe('the log of a machine', () => {
  const log = (text: string) => {
    writeFileSync(join(folder, 'VBox.log'), text)
    return { logFolder: folder }
  }
  const said =
    'NAT#0: configuration error: failed to set up redirection of 2222 to 22. Probably a conflict with existing services or other rules\n'

  it('reports which port another program has, although the start succeeded', () => {
    expect(
      lostPorts(log(`00:00:01.2 ${said}`), [
        { host: 2222, guest: 22 },
        { host: 2223, guest: 80 },
      ]),
    ).toEqual([2222])
  })

  it('does not report a port that is no longer wanted', () => {
    expect(lostPorts(log(said), [{ host: 2224, guest: 22 }])).toEqual([])
  })

  it('may be absent', () => {
    expect(lostPorts({ logFolder: join(folder, 'none') }, [{ host: 2222, guest: 22 }])).toEqual([])
  })
})

describe('the ranges of host-only networks', () => {
  const write = (text: string) => {
    mkdirSync(join(folder, 'etc', 'vbox'), { recursive: true })
    writeFileSync(join(folder, 'etc', 'vbox', 'networks.conf'), text)
  }

  it('are VirtualBox’ own without a file, which replaces them', () => {
    expect(allowedRanges(folder)).toEqual({ ranges: ['192.168.56.0/21'], fromFile: false })
    write('# ours\n* 10.99.0.0/16 192.168.0.0/16\n* fe80::/10\n')
    expect(allowedRanges(folder)).toEqual({ ranges: ['10.99.0.0/16', '192.168.0.0/16'], fromFile: true })
  })

  it.each([
    ['192.168.56.1', true],
    ['192.168.63.1', true],
    ['192.168.64.1', false],
    ['10.99.0.1', false],
  ])('contain %s: %s, as VirtualBox says', (address, inside) => {
    expect(isWithin(address, '192.168.56.0/21')).toBe(inside)
  })

  it('may contain everything', () => {
    expect(isWithin('10.1.2.3', '0.0.0.0/0')).toBe(true)
  })

  it('are checked before anything is made, with the adapter', async () => {
    const parts = {
      local: { run: async () => transcript('850') },
      program: 'VBoxManage',
      hostRoot: folder,
      uid: 1000,
    }
    const run = { signal: new AbortController().signal, log: () => {} }
    const check = (hostOnly: { adapter?: string; network?: string; address?: string } | null) =>
      refuseHostOnly(
        parts,
        createVBoxManage(parts),
        {
          machine: 'web',
          config: { hostOnly: hostOnly && { adapter: null, network: null, address: null, ...hostOnly } },
        },
        run,
      )
    await check(null)
    await check({ adapter: 'vboxnet0' })
    await check({ adapter: 'vboxnet0', address: '192.168.56.10/24' })
    const refused = (why: RegExp) =>
      expect.objectContaining({ exitCode: 2, message: expect.stringMatching(why) })
    await expect(check({ adapter: 'vboxnet9' })).rejects.toEqual(
      refused(/no host-only adapter 'vboxnet9' \(available: vboxnet0\)/),
    )
    await expect(check({ network: 'HostNetwork' })).rejects.toEqual(refused(/macOS only/))
    await expect(check({ adapter: 'vboxnet0', address: '10.99.0.2/24' })).rejects.toEqual(
      refused(/only 192\.168\.56\.0\/21/),
    )
    await expect(check({ adapter: 'vboxnet0', address: '192.168.57.2/24' })).rejects.toEqual(
      refused(/outside of 192\.168\.56\.1\/24/),
    )
    write('* 10.99.0.0/16\n')
    await expect(check({ adapter: 'vboxnet0', address: '192.168.56.10/24' })).rejects.toEqual(
      refused(/networks\.conf allows only 10\.99/),
    )
  })

  it('are compared with the adapters that VirtualBox lists', () => {
    expect(parseAdapters(transcript('857').stdout)).toEqual([
      { name: 'vboxnet0', address: '10.99.0.1', mask: '255.255.255.0' },
    ])
    expect(parseAdapters(transcript('007').stdout)).toEqual([])
  })
})
