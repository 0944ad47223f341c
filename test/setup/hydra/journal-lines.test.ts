import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { linesFor, runsAfter } from '../../../src/setup/hydra/journal-lines.js'

const proof = { derivation: 'hydra-ops-probe-1', jobset: 'hydra-ops-probe:probe' }
const own = '/nix/store/5lih21w7vkc0j5mmacmmaax4h3k0j9fr-hydra-ops-probe-1.drv'
const recorded = (name: string) =>
  readFileSync(`test/fixtures/hydra-journals/${name}`, 'utf8').replaceAll(/^.*?\]: /gm, '')

describe('the lines of a journal that are read for a build', () => {
  it.each([
    `possibly transient failure building ‘${own}’ on ‘localhost’: error: unexpected end-of-file`,
    'loading build 45 (hydra-ops-probe:probe:probe)',
    'evaluation of jobset ‘hydra-ops-probe:probe (jobset#2)’ failed with exit code 1',
    '(hydra-ops-probe:probe) Evaluating...',
    'Connection to server (localhost:5432) failed',
    'DBI::throw (Hydra::Schema) called (x.pm:12)',
    'queue monitor: Connection to database failed',
  ])('keep %s', (line) => {
    expect(linesFor(line, proof)).toBe(line)
  })

  it.each([
    'loading build 45 (shop:main:hydra-ops-probe)',
    'evaluation of jobset ‘shop:hydra-ops-probe (jobset#2)’ failed with exit code 1',
    '(shop:main) Evaluating...',
    `aborting unsupported build step '${own.replace('-1.drv', '-10.drv')}' (type 'x86_64-linux:quantum')`,
    'compressing ‘/var/lib/hydra/build-logs/iw/4s3g14qcmj1l5yvdy55barpkfqxaya-slow.drv’...',
  ])('leave out %s', (line) => {
    expect(linesFor(line, proof)).toBe('')
  })

  it('leave out every failure of other builds in the recorded journals, and keep lines that name no build', () => {
    for (const name of ['runner-not-trusted.txt', 'cache-wrong-owner.txt']) {
      expect(recorded(name)).toContain('possibly transient failure')
      const kept = linesFor(recorded(name), undefined)
      expect(kept).not.toContain('.drv')
      expect(kept).toMatch(/^checking the queue for builds > \d+\.\.\.$/m)
    }
  })
})

describe('the step of a build', () => {
  it('runs until the journal reports its failure, and again from the next try on', () => {
    const begins = `performing step ‘${own}’ 1 times on ‘localhost’ (needed by build 7 and 0 others)`
    const fails = `possibly transient failure building ‘${own}’ on ‘b1’: error: x`
    expect(runsAfter('checking the queue', proof)).toBeUndefined()
    expect(runsAfter(begins.replace('-1.drv', '-2.drv'), proof)).toBeUndefined()
    expect(runsAfter(begins, proof)).toBe(true)
    expect(runsAfter(`${begins}\n${fails}`, proof)).toBe(false)
    expect(runsAfter(`${begins}\n${fails}\n${begins}`, proof)).toBe(true)
  })
})
