import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BuilderReader, UsedBuilder } from '../../../src/core/builder-entries.js'
import { builderLists, drainFolder } from '../../../src/core/builder-offer.js'
import { MachineName } from '../../../src/core/names.js'
import { askMachine } from '../../../src/remote/run-script.js'
import { builderFiles } from '../../../src/setup/builders/builders-task.js'
import { builderHostKey } from '../../fakes/builder-peers.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskRun } from '../../fakes/task-run.js'

let root: string
let host: LocalShellHost

const list = (reader: BuilderReader) => join(root, builderLists[reader])
const marks = () => join(root, drainFolder)

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-drain-'))
  for (const folder of ['etc/hydra', 'etc/nix', 'var/lib/hydra-ops'])
    mkdirSync(join(root, folder), { recursive: true })
  const moved = Object.fromEntries(
    [...Object.values(builderLists), drainFolder].map((path) => [path, join(root, path)]),
  )
  host = new LocalShellHost({ moved })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function builder(name: string): UsedBuilder {
  return {
    machine: MachineName.parse(name),
    hostKey: builderHostKey,
    ...{ user: 'nix-builder', host: name, port: 22, systems: ['x86_64-linux', 'i686-linux'], maxJobs: 4 },
    ...{ speedFactor: 2, supportedFeatures: ['kvm'], mandatoryFeatures: [] },
  }
}

/** Returns the list that the set-up task writes. */
function written(reader: BuilderReader, drained: readonly string[]): string {
  const options = {
    reader,
    key: { file: '/etc/key', user: 'root', group: 'root', directory: '/etc' },
    ...{ builders: [builder('b1'), builder('b10')], awaited: [], listed: [] },
  }
  return String(builderFiles(options, new Set(drained))[0]?.content)
}

function set(drains: boolean, steps?: number, name = 'b1') {
  const values = {
    ...{
      lists: Object.values(builderLists),
      drained: drainFolder,
      name,
      login: `nix-builder@${name}`,
      jobs: 4,
      drains,
    },
    ...(steps === undefined ? {} : { steps_left: steps }),
  }
  return askMachine(host, { what: 'drain', script: 'tasks/builders/drain', values }, taskRun())
}

describe.each<BuilderReader>(['queue runner', 'daemon'])('a drain before a reboot, for a %s', (reader) => {
  beforeEach(() => writeFileSync(list(reader), written(reader, [])))

  it('writes the very list of the set-up task, and the very list from before afterwards', async () => {
    const facts = await set(true)
    expect([facts.get('before'), facts.get('read')]).toEqual([['none'], [list(reader)]])
    expect(readFileSync(list(reader), 'utf8')).toBe(written(reader, ['b1']))
    expect(readFileSync(join(marks(), 'b1'), 'utf8')).toBe('automatic\n')
    expect((await set(true)).get('before')).toEqual(['automatic'])
    await set(false)
    expect(readFileSync(list(reader), 'utf8')).toBe(written(reader, []))
    expect(readdirSync(marks())).toEqual([])
  })

  it('changes nothing that a person drained', async () => {
    mkdirSync(marks())
    writeFileSync(join(marks(), 'b1'), '')
    writeFileSync(list(reader), written(reader, ['b1']))
    for (const drains of [true, false]) expect((await set(drains)).get('before')).toEqual(['manual'])
    expect(readFileSync(list(reader), 'utf8')).toBe(written(reader, ['b1']))
    expect(readdirSync(marks())).toEqual(['b1'])
  })

  it('loses no change of another drain at the same time', async () => {
    for (const drains of [true, false, true, false, true]) {
      await Promise.all([set(drains), set(drains, undefined, 'b10')])
      expect(readFileSync(list(reader), 'utf8')).toBe(written(reader, drains ? ['b1', 'b10'] : []))
      expect(readdirSync(marks())).toEqual(drains ? ['b1', 'b10'] : [])
    }
  })

  it('leaves to a person what the person marks at the same time', async () => {
    const values = { drained: drainFolder, name: 'b1', drains: true }
    const question = { what: 'mark', script: 'tasks/builders/mark', values }
    for (let round = 0; round < 5; round += 1) {
      await Promise.all([set(true), askMachine(host, question, taskRun())])
      expect((await set(false)).get('before')).toEqual(['manual'])
      rmSync(join(marks(), 'b1'))
      await set(false)
    }
  })

  it('converges after a kill at any step', async () => {
    for (const drains of [true, false])
      for (let step = 0; step < 2; step += 1) {
        await set(!drains)
        await set(drains, step).catch(() => {})
        await set(drains)
        expect(readFileSync(list(reader), 'utf8')).toBe(written(reader, drains ? ['b1'] : []))
      }
  })
})

describe('the builds on builders', () => {
  it('are reported with their age, by the connections of ssh to the very login', async () => {
    const pretend = (words: string) =>
      spawn('bash', ['-c', 'exec -a "$1" sleep 300', 'bash', words], { stdio: 'ignore' })
    const serve = 'nix-store --serve --write'
    const children = [
      pretend(`ssh nix-builder@drain-1 -i /key -x -a -oBatchMode=yes -- ${serve}`),
      pretend(`/nix/store/x-openssh/bin/ssh nix-builder@drain-1 ${serve}`),
      pretend(`ssh nix-builder@drain-10 ${serve}`),
      pretend('ssh nix-builder@drain-1 uptime'),
      pretend(`cat nix-builder@drain-1 ${serve}`),
    ]
    try {
      const logins = ['nix-builder@drain-1', 'nix-builder@drain-2']
      const question = { what: 'ask', script: 'tasks/builders/steps', values: { logins } }
      await expect
        .poll(async () => (await askMachine(host, question, taskRun())).get('step')?.length, {
          timeout: 20_000,
        })
        .toBe(2)
      const steps = (await askMachine(host, question, taskRun())).get('step')
      expect(steps).toEqual(Array(2).fill(expect.stringMatching(/^\d+ nix-builder@drain-1$/)))
    } finally {
      for (const child of children) child.kill('SIGKILL')
    }
  })

  it('are no empty list where the machine has no ps', async () => {
    writeFileSync(join(root, 'ps'), '#!/bin/sh\necho "ps: not found" >&2\nexit 127\n', { mode: 0o755 })
    const question = { what: 'ask', script: 'tasks/builders/steps', values: { logins: ['nix-builder@b1'] } }
    await expect(askMachine(new LocalShellHost({ bin: root }), question, taskRun())).rejects.toMatchObject({
      detail: 'ps: not found',
    })
  })
})
