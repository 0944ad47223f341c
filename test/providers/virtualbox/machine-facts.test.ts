import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseMachine, parseMachineReadable } from '../../../providers/virtualbox/machine-facts.js'
import { transcript } from './transcripts.js'

const shown = (number: string) => parseMachine(transcript(number).stdout)

/** Writes a value as VBoxManage does. */
function written(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

describe('the listing of a machine', () => {
  it('gives the facts of a configured machine', () => {
    const facts = shown('260')
    expect(facts).toMatchObject({
      name: 'nx-web',
      uuid: 'd7d4467f-b355-4ce6-97f9-8920e5c98b29',
      settings: '/srv/vms/nixops/dep1/nx-web/nx-web.vbox',
      logFolder: '/srv/vms/nixops/dep1/nx-web/Logs',
      state: 'poweroff',
      locked: false,
      memoryMiB: 512,
      vcpu: 1,
      firmware: 'bios',
      serial: 'file,/srv/vms/nx-web-console.log',
      hasSnapshots: false,
    })
    expect([...facts.nics]).toEqual([[1, 'nat']])
    expect(facts.rules).toEqual([
      { name: 'ssh', protocol: 'tcp', hostIp: '127.0.0.1', host: 2222, guest: 22 },
    ])
  })

  it('gives disks and controllers, and no empty slots', () => {
    const facts = shown('356')
    expect([...facts.attached]).toEqual([['SATA-0-0', '/srv/vms/d1.vdi']])
    expect(facts.controllers.get('SATA')).toBe(8)
  })

  it('gives the source of a host-only interface', () => {
    expect(shown('859').nics.get(2)).toBe('hostonly vboxnet0')
  })

  it.each([
    ['802', 'running', true],
    ['818', 'paused', true],
    ['824', 'saved', false],
    ['831', 'poweroff', false],
    ['893', 'aborted', false],
    ['896', 'saved', false],
  ])('in transcript %s says that the machine is %s', (number, state, locked) => {
    expect(shown(number)).toMatchObject({ state, locked })
  })

  it('survives a line without "=", values over several lines, quotes, and spaces in keys', () => {
    expect(transcript('263').stdout).toContain('\n rec_screen0\n')
    const quotes = parseMachineReadable(transcript('263').stdout)
    expect(quotes.get('description')).toBe('line1 a=b\nline2 "quoted"')
    expect(quotes.get('name')).toBe('q"uote')
    expect(quotes.get('GuestMemoryBalloon')).toBe('0')
    expect(parseMachineReadable(transcript('265').stdout).get('description')).toBe('back\\slash end\\')
    const running = parseMachineReadable(transcript('873').stdout)
    expect(running.get('VideoMode')).toBe('720,400,0')
    expect(running.get('GuestAdditionsFacility_VirtualBox Base Driver')).toMatch(/^50,/)
  })

  it('gives each value back that modifyvm was given', () => {
    const text = fc.string({ unit: 'grapheme' }).map((value) => value.replaceAll('\0', ''))
    const lines = fc.array(
      fc.constantFrom('"', '\\', '\n', '=', ' rec_screen0', 'a', '\\"', 'VMState="running"'),
    )
    fc.assert(
      fc.property(
        fc.oneof(
          text,
          lines.map((parts) => parts.join('')),
        ),
        text,
        (description, name) => {
          const listing = [
            `name=${written(name)}`,
            ' rec_screen0',
            `description=${written(description)}`,
            'VMState="poweroff"',
            'memory=64',
            '',
          ].join('\n')
          expect(Object.fromEntries(parseMachineReadable(listing))).toEqual({
            name,
            description,
            VMState: 'poweroff',
            memory: '64',
          })
        },
      ),
    )
  })

  it('ends for any text, also for a quote without an end', () => {
    fc.assert(fc.property(fc.string(), (text) => parseMachine(text).state !== ''))
    expect(parseMachineReadable('a="no end\nb=1\n').get('b')).toBe('1')
  })
})
