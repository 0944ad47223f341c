import { describe, expect, it } from 'vitest'
import {
  aptConfiguration,
  parseInstalled,
  planPackages,
  wantedPackages,
  withoutCredentials,
} from '../../../src/systems/debian/packages.js'
import { debianMachine } from '../../fakes/debian-machine.js'

describe('wantedPackages', () => {
  it('joins the packages of the expression and of the tasks, each package once', () => {
    const machine = debianMachine({ aptPackages: ['curl', 'jq=1.6'] })
    expect(
      wantedPackages(machine, [{ packages: ['nix-bin', 'curl'] }, { packages: ['nix-bin', 'jq'] }]),
    ).toEqual({
      all: ['curl', 'jq=1.6', 'nix-bin'],
      own: ['curl', 'jq'],
      answers: [],
    })
  })

  it('keeps alternatives, unless the very package is wanted too', () => {
    const task = { packages: ['postfix | mail-transport-agent'], debconf: ['postfix a/b string c'] }
    expect(wantedPackages(debianMachine(), [task, task])).toEqual({
      all: ['postfix | mail-transport-agent'],
      own: [],
      answers: ['postfix a/b string c'],
    })
    expect(wantedPackages(debianMachine({ aptPackages: ['postfix=3'] }), [task]).all).toEqual(['postfix=3'])
  })

  it('refuses one package in two versions', () => {
    const machine = debianMachine({ aptPackages: ['jq=1.6', 'jq=1.7'] })
    expect(() => wantedPackages(machine, [])).toThrow(
      "machine 'web': two different versions of package jq are requested: 1.6 and 1.7",
    )
  })
})

describe('parseInstalled', () => {
  it('counts only unpacked and configured packages, on hold or not', () => {
    const installed = parseInstalled(
      [
        'ii |curl|7.88|',
        'hi |held|1|',
        'rc |removed|1|',
        'un |never||',
        'iU |unpacked|1|',
        'iF |half-configured|1|',
        'iHR|half-installed|1|',
        '',
      ].join('\n'),
    )
    expect([...installed]).toEqual([
      ['curl', '7.88'],
      ['held', '1'],
    ])
  })

  it('knows the names that a package provides, but not as a version of the package', () => {
    const installed = parseInstalled(
      'ii |mawk|1.3|awk\nii |exim4|4|mail-transport-agent, default-mta (= 4)\n',
    )
    expect(installed.has('awk')).toBe(true)
    expect(installed.get('awk')).toBeUndefined()
    expect(installed.has('default-mta')).toBe(true)
  })
})

describe('aptConfiguration', () => {
  it('keeps the machine’s configuration files, waits for dpkg’s lock, and asks nothing', () => {
    const text = aptConfiguration(undefined, false)
    expect(text).toContain('DPkg::Options { "--force-confold"; };')
    expect(text).toContain('DPkg::Lock::Timeout "300";')
    expect(text).toContain('APT::Get::Assume-Yes "true";')
    expect(text).not.toContain('Proxy')
    expect(text).not.toContain('Downgrades')
  })

  it('holds the proxy, and allows an older version only on request', () => {
    expect(aptConfiguration('http://u:p@proxy:3128', true)).toContain(
      'Acquire::http::Proxy "http://u:p@proxy:3128";',
    )
    expect(aptConfiguration(undefined, true)).toContain('APT::Get::allow-Downgrades "true";')
  })
})

describe('withoutCredentials', () => {
  it('takes user and password out of every URL of a line', () => {
    expect(withoutCredentials('W: http://u:p@proxy:3128 and https://x@y/z')).toBe(
      'W: http://***@proxy:3128 and https://***@y/z',
    )
  })
})

describe('planPackages', () => {
  it('lists the packages to install, or nothing', () => {
    expect(planPackages('add', [])).toEqual([])
    expect(planPackages('add', ['a', 'b=1'])).toEqual([
      { subject: 'packages', action: 'add', detail: 'a, b=1' },
    ])
  })
})
