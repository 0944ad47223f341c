import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { missingPackages, parseInstalled } from '../../../src/systems/debian/packages.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'

/** The folder that stands for /var/lib/dpkg. */
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-dpkg-'))
  mkdirSync(join(folder, 'updates'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function missing(...all: string[]): Promise<string[]> {
  const host = new LocalShellHost({ bin: folder, moved: { '/var/lib/dpkg': folder } })
  return missingPackages(host, { all, own: [] }, recordingRun())
}

function status(...paragraphs: string[]): void {
  writeFileSync(join(folder, 'status'), paragraphs.map((text) => `${text}\n\n`).join(''))
}

function dpkgQuery(...lines: string[]): void {
  const text = lines.map((line) => `echo '${line}'`).join('\n')
  writeFileSync(join(folder, 'dpkg-query'), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
}

const jq =
  'Package: jq\nStatus: install ok installed\nVersion: 1.6-2\nDescription: Package: curl\n Package: wget'

describe('the look at installed packages', () => {
  it('agrees with dpkg-query about each package of this host', async () => {
    const format = '${db:Status-Abbrev}|${Package}|${Version}|${Provides}\n'
    const query = execFileSync('dpkg-query', ['-W', '-f', format], { encoding: 'utf8' })
    const installed = [...parseInstalled(query)]
    const wanted = installed.map(([name, version]) => (version === undefined ? name : `${name}=${version}`))
    const real = new LocalShellHost()
    expect(wanted.length).toBeGreaterThan(100)
    expect(
      await missingPackages(real, { all: [...wanted, 'no-such-package'], own: [] }, recordingRun()),
    ).toEqual(['no-such-package'])
  })

  it('finds a package in its version, and nothing in descriptions', async () => {
    status(jq)
    expect(await missing('jq', 'jq=1.6-2', 'jq=1.7', 'curl', 'wget')).toEqual(['jq=1.7', 'curl', 'wget'])
  })

  it('finds a package that another package provides', async () => {
    status(
      'Package: postfix\nStatus: install ok installed\nProvides: default-mta, mail-transport-agent (= 1)\nVersion: 3',
    )
    expect(await missing('mail-transport-agent', 'exim4 | default-mta', 'exim4')).toEqual(['exim4'])
  })

  it.each([
    'deinstall ok config-files',
    'install ok unpacked',
    'install ok half-configured',
    'install ok triggers-pending',
  ])('misses a package in the state "%s"', async (state) => {
    status(
      jq,
      `Package: curl\nStatus: ${state}\nVersion: 7`,
      'Package: last\nStatus: hold ok installed\nVersion: 1',
    )
    expect(await missing('jq', 'curl', 'last')).toEqual(['curl'])
  })

  it('asks dpkg-query while dpkg keeps late changes in its folder of updates', async () => {
    status(jq)
    dpkgQuery('ii |curl|7|')
    writeFileSync(join(folder, 'updates', '0001'), 'Package: jq\nStatus: deinstall ok config-files\n')
    expect(await missing('jq', 'curl')).toEqual(['jq'])
  })

  it('asks dpkg-query where the file of dpkg cannot be read', async () => {
    dpkgQuery('ii |curl|7|')
    expect(await missing('jq', 'curl')).toEqual(['jq'])
  })

  it('fails where no program can tell', async () => {
    writeFileSync(join(folder, 'dpkg-query'), '#!/bin/sh\necho "no database" >&2\nexit 2\n', { mode: 0o755 })
    await expect(missing('jq')).rejects.toThrow('read which packages are installed')
  })
})
