import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hydraSettings } from '../../../src/setup/hydra/settings.js'
import { spaceScript } from '../../../src/setup/hydra/units.js'
import { taskMachine } from '../../fakes/task-run.js'

const [runner, evaluator] = ['hydra-queue-runner', 'hydra-evaluator'] as const
const GiB = 1024 * 1024

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ho-check-space-'))
  for (const name of ['bin', 'active', 'hydra']) mkdirSync(join(folder, name))
  standIn('df', `[ "$*" = '--output=avail -k /nix/store' ] || exit 1; echo Avail; cat ${folder}/free`)
  standIn(
    'systemctl',
    `cd ${folder}/active || exit 1
case $1 in
  -q) [ "$2" = is-active ] && [ -e "$3" ] ;;
  start) : > "$2" ;;
  stop) rm "$2" ;;
  *) exit 1 ;;
esac`,
  )
  for (const unit of [runner, evaluator]) writeFileSync(join(folder, 'active', unit), '')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function standIn(name: string, body: string): void {
  writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

const active = (unit: string) => existsSync(join(folder, 'active', unit))

/** Runs the timer's script while the store's disk has this much free space. */
function check(gib: number, options: Record<string, number>): void {
  const settings = hydraSettings(taskMachine({ hydra: { enable: true, ...options } }))
  const text = settings === undefined ? undefined : spaceScript(settings)
  if (text === undefined) throw new Error('nothing looks for room')
  const file = join(folder, 'check-space.sh')
  writeFileSync(file, text.replaceAll('/var/lib/hydra', join(folder, 'hydra')))
  writeFileSync(join(folder, 'free'), `  ${Math.round(gib * GiB)}\n`)
  const PATH = `${join(folder, 'bin')}:${process.env.PATH}`
  const ended = spawnSync('/bin/sh', [file], { env: { PATH }, encoding: 'utf8' })
  expect(ended).toMatchObject({ status: expect.any(Number), stdout: '', stderr: '' })
}

describe('the check for room on the disk', () => {
  const both = { minimumDiskFree: 4, minimumDiskFreeEvaluator: 2 }

  it('stops each unit only when there is less room than its option demands', () => {
    check(5, both)
    expect([active(runner), active(evaluator)]).toEqual([true, true])
    check(3, both)
    expect([active(runner), active(evaluator)]).toEqual([false, true])
    check(1, both)
    expect([active(runner), active(evaluator)]).toEqual([false, false])
  })

  it('starts the units again when there is a tenth more room, and not before', () => {
    check(1, both)
    check(2.1, both)
    expect([active(runner), active(evaluator)]).toEqual([false, false])
    check(2.3, both)
    expect([active(runner), active(evaluator)]).toEqual([false, true])
    check(4.5, both)
    expect([active(runner), active(evaluator)]).toEqual([true, true])
  })

  it('never starts a unit that somebody else stopped', () => {
    rmSync(join(folder, 'active', runner))
    check(1, { minimumDiskFree: 4 })
    check(9, { minimumDiskFree: 4 })
    expect([active(runner), active(evaluator)]).toEqual([false, true])
  })
})
