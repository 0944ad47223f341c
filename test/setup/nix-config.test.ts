import { describe, expect, it } from 'vitest'
import { DebianOptions } from '../../src/core/debian-options.js'
import { gcUnits, nixOptions, nixSettings } from '../../src/setup/nix-config.js'

function options(nix: Record<string, unknown> = {}) {
  return DebianOptions.parse({ nix }).nix
}

describe('nixSettings', () => {
  it('looks up no public cache when none is requested', () => {
    expect(nixSettings(options())).toContain('\nsubstituters =\n')
    expect(nixSettings(options())).not.toContain('trusted-public-keys')
  })

  it('has the requested caches, their keys and the trusted users', () => {
    const text = nixSettings(
      options({
        substituters: ['https://a.example.org', 'https://b.example.org'],
        trustedPublicKeys: ['a-1:AAAA'],
        trustedUsers: ['builder', 'root', '@wheel'],
      }),
    )
    expect(text).toContain('\nsubstituters = https://a.example.org https://b.example.org\n')
    expect(text).toContain('\nextra-trusted-public-keys = a-1:AAAA\n')
    expect(text).toContain('\ntrusted-users = root builder @wheel\n')
  })

  it('trusts the queue runner of a Hydra, which cannot build otherwise, and the users of its option', () => {
    const text = (hydra: unknown) => nixSettings(nixOptions(DebianOptions.parse({ hydra })))
    expect(text({ enable: true })).toContain('\ntrusted-users = root hydra-queue-runner\n')
    expect(text({ enable: true, trustedUsers: ['alice'] })).toContain(
      '\ntrusted-users = root hydra-queue-runner alice\n',
    )
    expect(text({ enable: false })).toContain('\ntrusted-users = root\n')
  })

  it('survives a power cut, builds in a sandbox that has a shell, and optimises on request', () => {
    expect(nixSettings(options())).toContain('\nsync-before-registering = true\n')
    expect(nixSettings(options())).toContain('\nsandbox-paths = /bin/sh=/bin/dash /usr/bin')
    expect(nixSettings(options())).toContain('\nauto-optimise-store = false\n')
    expect(nixSettings(options({ autoOptimiseStore: true }))).toContain('\nauto-optimise-store = true\n')
  })

  it('adds emulated systems to those of the processor, and takes them away again', () => {
    const text = (emulatedSystems: string[]) =>
      nixSettings(nixOptions(DebianOptions.parse({ binfmt: { emulatedSystems } })))
    expect(text(['aarch64-linux', 'armv7l-linux'])).toContain(
      '\nextra-extra-platforms = aarch64-linux armv7l-linux\n',
    )
    expect(text([])).not.toContain('platforms')
  })

  it('includes the settings of a builder that signs, and of a machine that fetches, before further lines', () => {
    const text = (builder: unknown, usesCaches: boolean) =>
      nixSettings(
        nixOptions(DebianOptions.parse({ nix: { extraOptions: 'fallback = false' }, builder }), {
          usesCaches,
        }),
      )
    const signing = { enable: true, for: ['ci'], cache: { enable: true } }
    expect(text(signing, true)).toContain(
      '\n!include /etc/nix/hydra-ops-signing.conf\n!include /etc/nix/hydra-ops-caches.conf\n# deployment.nix.extraOptions\nfallback = false\n',
    )
    expect(text({ ...signing, enable: false }, false)).not.toContain('!include')
    expect(text({ ...signing, cache: {} }, false)).not.toContain('!include')
  })

  it.each([['sparc-linux'], ['aarch64'], ['aarch64-linux x']])('does not emulate %j', (system) => {
    expect(DebianOptions.safeParse({ binfmt: { emulatedSystems: [system] } }).success).toBe(false)
  })

  it.each([
    { substituters: ['https://a.example.org https://b.example.org'] },
    { trustedUsers: ['a\nallowed-users = *'] },
    { trustedPublicKeys: ['a # b'] },
    { gc: { dates: 'weekly\n[Service]' } },
  ])('rejects a value that would become another setting: %j', (nix) => {
    expect(() => options(nix)).toThrow()
  })
})

describe('further lines of nix.conf', () => {
  const lines = (text: string) => nixSettings(options({ extraOptions: text })).split('\n')

  it('stand unchanged at the end', () => {
    expect(lines('max-jobs = 4\n!include secret.conf').slice(-4)).toEqual([
      '# deployment.nix.extraOptions',
      'max-jobs = 4',
      '!include secret.conf',
      '',
    ])
  })

  it.each([
    ['sandbox = false', 'sandbox = true'],
    ['build-use-sandbox = relaxed', 'sandbox = true'],
    ['\tsandbox-paths = /bin/sh', 'sandbox-paths = /bin/sh=/bin/dash /usr/bin /usr/lib /lib? /lib64?'],
    ['sync-before-registering = false', 'sync-before-registering = true'],
  ])('replace our line, which is then not in the file: %s', (theirs, ours) => {
    expect(lines('')).toContain(ours)
    expect(lines(theirs)).toContain(theirs)
    expect(lines(theirs)).not.toContain(ours)
  })

  it.each([
    [
      { trustedPublicKeys: ['a:AAAA'] },
      'extra-trusted-public-keys = b:BBBB',
      'extra-trusted-public-keys = a:AAAA',
    ],
    [
      { substituters: ['https://a.example.org'] },
      'extra-substituters = https://b.example.org',
      'substituters = https://a.example.org',
    ],
    [{ trustedUsers: ['alice'] }, 'extra-trusted-users = bob', 'trusted-users = root alice'],
    [{ allowedUris: ['github:'] }, 'extra-allowed-uris = gitlab:', 'allowed-uris = github:'],
  ])('leave the lines of options when they begin with "extra-": %j', (nix, theirs, ours) => {
    const text = nixSettings(options({ ...nix, extraOptions: theirs })).split('\n')
    expect(text).toContain(ours)
    expect(text).toContain(theirs)
  })

  it('leave our lines when they add to a setting or only name it', () => {
    const text = lines('extra-sandbox-paths = /opt\n# sandbox = false\n')
    expect(text).toContain('sandbox = true')
    expect(text.filter((line) => line.includes('sandbox-paths'))).toHaveLength(2)
  })

  it.each([
    ['trusted-users = alice', 'use deployment.nix.trustedUsers'],
    ['binary-caches = https://a.example.org', 'use deployment.nix.substituters'],
    ['allowed-uris = https://a.example.org/', 'use deployment.nix.allowedUris'],
    ['max-jobs=4', 'is not a line of nix.conf'],
    ['max-jobs', 'is not a line of nix.conf'],
    ['include more.conf', 'write !include'],
    ['cores = 1\rmax-jobs', 'is not a line of nix.conf'],
  ])('are refused when Nix would not read them or an option sets them: %j', (text, why) => {
    expect(() => options({ extraOptions: text })).toThrow(why)
  })

  it('are joined by the places from which a restricted evaluation may fetch', () => {
    expect(lines('')).not.toContain('allowed-uris')
    expect(nixSettings(options({ allowedUris: ['https://a.example.org/', 'github:'] }))).toContain(
      '\nallowed-uris = https://a.example.org/ github:\n',
    )
  })
})

describe('gcUnits', () => {
  it('are a service and a timer when the collection is automatic, otherwise nothing', () => {
    expect(gcUnits(options())).toEqual([])
    const [service, timer] = gcUnits(
      options({ gc: { automatic: true, dates: '03:15', options: '--delete-older-than 30d 100%' } }),
    )
    expect(service?.path).toBe('/etc/systemd/system/hydra-ops-nix-gc.service')
    expect(service?.content).toContain(
      'ExecStart=:/usr/bin/nix-collect-garbage --delete-older-than 30d 100%%\n',
    )
    expect(timer?.content).toContain('OnCalendar=03:15\n')
  })
})
