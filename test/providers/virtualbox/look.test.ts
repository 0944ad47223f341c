import { describe, expect, it } from 'vitest'
import {
  hasSavedMemory,
  inaccessibleName,
  isActive,
  isStuck,
  parseExtraData,
  parseList,
} from '../../../providers/virtualbox/look.js'
import { childrenFirst, ownerOf, parseMedia } from '../../../providers/virtualbox/media.js'
import { transcript } from './transcripts.js'

describe('the list of machines', () => {
  it('has names with quotes, slashes and other letters, and inaccessible machines', () => {
    const weird = parseList(transcript('914').stdout)
    expect(weird.map(({ name }) => name)).toEqual(expect.arrayContaining(['a/b', 'we"ird näme $x']))
    expect(weird.at(-1)).toEqual({ name: 'we"ird näme $x', uuid: '4fa2aed5-5c9f-49c7-8aad-7bf8733aa337' })
    const lost = parseList(transcript('910').stdout).find(({ name }) => name === inaccessibleName)
    expect(lost?.uuid).toBe('1495228d-3730-4581-8fa5-87229423dd7a')
  })

  it('is empty where there is none', () => {
    expect(parseList(transcript('005').stdout)).toEqual([])
  })
})

describe('the marks of a machine', () => {
  it('are read from its extra data', () => {
    expect([...parseExtraData(transcript('404').stdout)]).toEqual([
      ['nixops/deployment', '6f1c-uuid'],
      ['nixops/machine', 'web'],
    ])
  })

  it('are read beside a value over several lines', () => {
    const data = parseExtraData('Key: a, Value: one\ntwo, Value: three\nKey: b, Value: 2\n')
    expect([...data]).toEqual([
      ['a', 'one\ntwo, Value: three'],
      ['b', '2'],
    ])
    expect(parseExtraData('').size).toBe(0)
  })
})

describe('a state of a machine', () => {
  it.each([
    ['poweroff', false, false, false],
    ['aborted', false, false, false],
    ['saved', false, false, true],
    ['aborted-saved', false, false, true],
    ['running', true, false, false],
    ['starting', true, false, false],
    ['stopping', true, false, false],
    ['saving', true, false, false],
    ['restoring', true, false, false],
    ['paused', true, true, false],
    ['gurumeditation', true, true, false],
    ['stuck', true, true, false],
  ])('%s is known', (state, active, stuck, saved) => {
    expect([isActive({ state }), isStuck({ state }), hasSavedMemory({ state })]).toEqual([
      active,
      stuck,
      saved,
    ])
  })
})

describe('the list of disks', () => {
  const media = parseMedia(transcript('461').stdout)

  it('has each disk with its place and its parent', () => {
    expect(media[0]).toEqual({
      uuid: '2abed391-1567-4712-8ca2-620020042386',
      parent: undefined,
      location: '/srv/vms/d1.vdi',
      capacityMiB: 64,
      accessible: true,
    })
    expect(media[1]?.parent).toBe('2abed391-1567-4712-8ca2-620020042386')
  })

  it('finds which disk a file with differences belongs to', () => {
    const child = media[1]?.location ?? ''
    expect(ownerOf(child, media, new Set(['/srv/vms/d1.vdi']))).toBe('/srv/vms/d1.vdi')
    expect(ownerOf(child, media, new Set(['/srv/vms/other.vdi']))).toBeUndefined()
    expect(ownerOf('/not/known.vdi', [], new Set(['/not/known.vdi']))).toBe('/not/known.vdi')
  })

  it('is ordered so that no disk goes before those that build on it', () => {
    const order = childrenFirst(media)
    for (const { uuid, parent } of media) {
      const at = (wanted: string) => order.findIndex((each) => each.uuid === wanted)
      if (parent !== undefined) expect(at(uuid)).toBeLessThan(at(parent))
    }
  })
})
