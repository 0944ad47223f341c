import { describe, expect, it } from 'vitest'
import { compareSystems } from '../../../src/systems/nixos/compare.js'
import { type NixosSurvey, readSurvey } from '../../../src/systems/nixos/survey.js'
import { readInhibitors, type SystemFacts } from '../../../src/systems/nixos/system-files.js'

const [first, second] = ['a', 'b'].map((each) => `/nix/store/${each.repeat(32)}-nixos-system-web`) as [
  string,
  string,
]

function machine(facts: Readonly<Record<string, readonly string[]>> = {}): NixosSurvey {
  return readSurvey(
    new Map(
      Object.entries({
        current: [first],
        version: ['24.11.20241128.abc'],
        part: ['kernel /nix/store/k1 /nix/store/k1 -', 'systemd /nix/store/s1 /nix/store/s1 -'],
        ...facts,
      }),
    ),
  )
}

function system(facts: Partial<SystemFacts> = {}): SystemFacts {
  const parts = new Map([
    ['kernel', '/nix/store/k1'],
    ['systemd', '/nix/store/s1'],
  ])
  return { version: '24.11.20241130.def', parts, inhibitors: new Map(), ...facts }
}

const compare = (seen: NixosSurvey, wanted: SystemFacts) => compareSystems(seen, wanted, second)

describe('a wanted system', () => {
  it('is entered by a switch if nothing speaks against that', () => {
    expect(compare(machine(), system())).toEqual({
      onlyByBoot: undefined,
      rebootReason: undefined,
      older: undefined,
    })
  })

  it('needs a reboot after the switch for each part that only a boot changes', () => {
    const parts = new Map([
      ['kernel', '/nix/store/k2'],
      ['systemd', '/nix/store/s2'],
    ])
    expect(compare(machine(), system({ parts }))).toMatchObject({
      onlyByBoot: undefined,
      rebootReason: 'reboot needed: the new system has another kernel, systemd',
    })
  })

  it('is compared with the booted system, and not with the one that a switch left running', () => {
    const seen = machine({ part: ['kernel /nix/store/k1 /nix/store/k2 -'] })
    expect(compare(seen, system()).rebootReason).toBeUndefined()
  })

  it.each([
    ['25.05.20250601.abc', '25.05 instead of 24.11'],
    ['17.03.1234.abc', '17.03 instead of 24.11'],
  ])('of another release is entered only by a boot: %s', (version, words) => {
    const { onlyByBoot, rebootReason } = compare(machine(), system({ version }))
    expect(onlyByBoot).toContain(`another release (${words})`)
    expect(rebootReason).toBe(onlyByBoot)
  })

  it('is entered only by a boot if an inhibitor of both systems changed', () => {
    const seen = machine({ inhibitors: ['{"dbus":"a","systemd":"1"}'] })
    const inhibitors = new Map([
      ['dbus', 'b'],
      ['systemd', '1'],
      ['new', 'x'],
    ])
    expect(compare(seen, system({ inhibitors })).onlyByBoot).toMatch(/because dbus changed$/)
    expect(compare(machine(), system({ inhibitors })).onlyByBoot).toBeUndefined()
  })

  it.each([
    ['24.11.20241101.abc', true],
    ['24.05.20241201.abc', true],
    ['24.11.20241128.abc', false],
    ['24.11.20241128.fff', false],
    // A channel's version counts commits, and a flake's version has a date.
    ['24.11.712345.abc', false],
    ['custom', false],
    [undefined, false],
  ])('is said to be older than the one that runs by its version: %s', (version, older) => {
    expect(compare(machine(), system({ version })).older !== undefined).toBe(older)
  })

  it('is said to be older if it is an earlier generation of the machine', () => {
    const generation = [`1 ${second}`, `2 ${first}`]
    expect(compare(machine({ generation }), system({ version: undefined })).older).toBe(
      'older than the system that runs: generation 1 of the machine instead of 2',
    )
    const again = [...generation, `3 ${second}`]
    expect(compare(machine({ generation: again }), system({ version: undefined })).older).toBeUndefined()
  })
})

describe('the file of inhibitors', () => {
  it.each([undefined, '', 'no JSON', '[]', '"text"', 'null', '{"a":1}'])(
    'has none in an unknown form: %s',
    (text) => {
      expect([...readInhibitors(text)]).toEqual([])
    },
  )
})
