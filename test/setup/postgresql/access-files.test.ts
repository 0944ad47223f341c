import { describe, expect, it } from 'vitest'
import {
  hasMap,
  hasRuleFirst,
  isOurs,
  withMap,
  withRule,
} from '../../../src/setup/postgresql/access-files.js'

const rule = 'local hydra all ident map=hydra-users'
const debian = `# PostgreSQL Client Authentication Configuration File
# Database administrative login by Unix domain socket
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     peer
host    all             all             127.0.0.1/32            scram-sha-256
`

describe('the rule in pg_hba.conf', () => {
  it('comes before every other rule, and all others stay', () => {
    const text = withRule(debian, rule)
    expect(hasRuleFirst(text, rule)).toBe(true)
    expect(text.endsWith(debian)).toBe(true)
    expect(text.split('\n')[0]).toBe(`${rule} # hydra-ops: Hydra's users`)
  })

  it('is moved up when it stands in the wrong place, however it is written there', () => {
    const wrong = `${debian}local  hydra\tall ident map=hydra-users   # ours\n`
    expect(hasRuleFirst(wrong, rule)).toBe(false)
    const text = withRule(wrong, rule)
    expect(text).toBe(withRule(debian, rule))
  })

  it('is written once, however often it is applied', () => {
    expect(withRule(withRule(debian, rule), rule)).toBe(withRule(debian, rule))
  })

  it('takes the place of the rule of earlier options, which may have let in everybody', () => {
    const open = withRule(debian, 'host hydra all 0.0.0.0/0 trust')
    expect(hasRuleFirst(open, rule)).toBe(false)
    expect(withRule(open, rule)).toBe(withRule(debian, rule))
  })

  it('is first also behind comments and empty lines', () => {
    expect(hasRuleFirst(`# x\n\n ${rule} # y\n`, rule)).toBe(true)
    expect(hasRuleFirst('', rule)).toBe(false)
  })
})

describe('the map in pg_ident.conf', () => {
  const rows = ['hydra-users hydra hydra', 'hydra-users root hydra']

  it('is added at the end, and nothing else changes', () => {
    const text = withMap('# MAPNAME\nother root app\n', rows)
    expect(text).toBe(`# MAPNAME\nother root app\n# begin hydra-ops\n${rows.join('\n')}\n# end hydra-ops\n`)
    expect(hasMap(text, rows)).toBe(true)
  })

  it('is written once, and follows a change', () => {
    const once = withMap('', rows)
    expect(withMap(once, rows)).toBe(once)
    expect(withMap(once, rows.slice(0, 1))).not.toContain('root')
  })

  it('keeps rows that were written by hand, and does not repeat them', () => {
    const text = withMap('hydra-users   hydra  hydra\n', rows)
    expect(text.match(/hydra {2}hydra|hydra hydra/g)).toHaveLength(1)
    expect(hasMap(text, rows)).toBe(true)
  })

  it('leaves no damage when its block was cut in two', () => {
    expect(withMap('# end hydra-ops\nother root app\n# begin hydra-ops\n', rows)).toContain(
      'other root app\n',
    )
  })
})

describe('a line of ours', () => {
  it('is recognised in both files, and no other line is', () => {
    const hba = withRule(debian, rule)
    expect([1, 2, 5].map((line) => isOurs(hba, line))).toEqual([true, false, false])
    const ident = withMap('other root app\n', ['hydra-users root hydra'])
    expect([1, 2, 3, 4, 9].map((line) => isOurs(ident, line))).toEqual([false, false, true, false, false])
  })
})
