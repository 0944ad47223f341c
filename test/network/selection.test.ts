import { describe, expect, it } from 'vitest'
import { OpsError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { type Selection, selectMachines } from '../../src/network/selection.js'

const machines = [
  { name: MachineName.parse('web1'), tags: ['front', 'eu-west'] },
  { name: MachineName.parse('web2'), tags: ['front', 'us-east'] },
  { name: MachineName.parse('db'), tags: ['data'] },
  { name: MachineName.parse('my.host'), tags: [] },
]

const select = (selection: Selection) => selectMachines(machines, selection)

function refusal(selection: Selection): OpsError {
  try {
    select(selection)
  } catch (error) {
    if (error instanceof OpsError) return error
  }
  throw new Error('the selection was not refused')
}

describe('selectMachines', () => {
  it('takes all machines when nothing is selected', () => {
    expect(select({})).toEqual(['web1', 'web2', 'db', 'my.host'])
    expect(select({ include: [], exclude: [] })).toEqual(['web1', 'web2', 'db', 'my.host'])
  })

  it.each([
    ['a name', 'db', ['db']],
    ['a comma as "or", in the order of the network', 'db,web1', ['web1', 'db']],
    ['a glob', 'web*', ['web1', 'web2']],
    ['a glob of one character', 'web?', ['web1', 'web2']],
    ['a tag', '@front', ['web1', 'web2']],
    ['a glob over tags', '@*-east', ['web2']],
    ['"!" as "not", beside a wish', 'web*,!web2', ['web1']],
    ['"!" alone: everything else', '!db,!my.host', ['web1', 'web2']],
    ['"!" with a tag', '!@front', ['db', 'my.host']],
    ['blanks around the commas', ' db , web1 ', ['web1', 'db']],
    ['each machine once', 'web1,web*,@front', ['web1', 'web2']],
  ])('reads %s', (_, on, expected) => {
    expect(select({ on })).toEqual(expected)
  })

  it('takes a dot for a dot', () => {
    expect(select({ on: 'my.host' })).toEqual(['my.host'])
    expect(refusal({ on: 'my-host' }).exitCode).toBe(2)
  })

  it('honours --include and --exclude as NixOps does', () => {
    expect(select({ include: ['db', 'web1'] })).toEqual(['web1', 'db'])
    expect(select({ exclude: ['db'] })).toEqual(['web1', 'web2', 'my.host'])
    expect(select({ include: ['web1', 'web2'], exclude: ['web2'] })).toEqual(['web1'])
  })

  it('refuses a name that matches nothing and suggests the intended name', () => {
    const error = refusal({ include: ['wbe1'] })
    expect(error.exitCode).toBe(2)
    expect(error.message).toBe("no machine is called 'wbe1'")
    expect(error.hint).toBe("did you mean 'web1'?")
  })

  it('refuses an excluded name that matches nothing, because a misspelt machine would be touched', () => {
    expect(refusal({ on: 'web*,!webb2' }).message).toBe("no machine is called 'webb2'")
    expect(refusal({ exclude: ['d8'] }).exitCode).toBe(2)
  })

  it('refuses a tag of no machine', () => {
    const error = refusal({ on: '@fornt' })
    expect(error.message).toBe("no machine has the tag 'fornt'")
    expect(error.hint).toBe("did you mean '@front'?")
  })

  it('refuses a selection that cancels itself', () => {
    expect(refusal({ on: 'db,!db' }).message).toBe('the selection matches no machine')
  })

  it.each(['', 'web1,', '!', '@', 'db,!@'])('refuses the empty part in %j', (on) => {
    expect(refusal({ on }).message).toContain('has an empty part')
  })

  it('refuses both ways of selecting at once', () => {
    expect(refusal({ on: 'db', include: ['db'] }).message).toContain('--on cannot be used together')
  })

  it('lists the existing names when none is similar', () => {
    expect(refusal({ on: 'zzzzzzzzzz' }).hint).toBe('the choices are: web1, web2, db, my.host')
  })

  it('selects nothing of an empty network without complaint, and refuses a name in it', () => {
    expect(selectMachines([], {})).toEqual([])
    expect(() => selectMachines([], { on: 'web' })).toThrow("no machine is called 'web'")
  })
})
