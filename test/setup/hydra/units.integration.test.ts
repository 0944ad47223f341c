import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HydraFacts } from '../../../src/setup/hydra/package-facts.js'
import { hydraSettings } from '../../../src/setup/hydra/settings.js'
import { hydraUnits } from '../../../src/setup/hydra/units.js'
import { gcUnits, nixOptions } from '../../../src/setup/nix-config.js'
import { type CacheProgram, cacheServices } from '../../../src/setup/nix-serve-program.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskMachine } from '../../fakes/task-run.js'

/** The root of files that the real systemd reads without running them. */
let root: string
const programs = [
  ...['hydra-init', 'hydra-server', 'hydra-evaluator', 'hydra-queue-runner', 'hydra-create-user'],
  ...['hydra-notify', 'hydra-send-stats', 'hydra-update-gc-roots', 'hydra-builder', 'hydra-ws'],
]

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-units-'))
  mkdirSync(join(root, 'package/bin'), { recursive: true })
  for (const name of [...programs, 'nix-serve', 'harmonia', 'harmonia-cache']) {
    writeFileSync(join(root, 'package/bin', name), '#!/bin/sh\n')
    chmodSync(join(root, 'package/bin', name), 0o755)
  }
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Returns systemd's complaints about units; an empty text means no complaints. */
function complaints(units: readonly { readonly name: string; readonly text: string }[]): string {
  const folder = mkdtempSync(join(root, 'units-'))
  for (const { name, text } of units) writeFileSync(join(folder, name), text)
  const files = units.map(({ name }) => join(folder, name))
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', ...files], {
    encoding: 'utf8',
    env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` },
  })
  return `${verified.stdout}${verified.stderr}`
    .split('\n')
    .filter((line) => line.includes(folder))
    .join('\n')
}

function unitsOf(hydra: Record<string, unknown>, more: Partial<HydraFacts> = {}) {
  const settings = hydraSettings(taskMachine({ hydra: { enable: true, ...hydra } }))
  if (settings === undefined) throw new Error('no Hydra is wanted')
  return hydraUnits({
    settings,
    package: join(root, 'package'),
    facts: {
      database: 'url',
      runner: 'goes-to-builders',
      metrics: true,
      builderSettings: 'file',
      evaluatorSettings: 'hydra.conf',
      programs: new Set(programs),
      systems: ['x86_64-linux'],
      cores: 2,
      kvm: false,
      ...more,
    },
    database: { name: 'hydra', port: 5432 },
    postgresql: 'postgresql@15-main.service',
  })
}

/** Returns a unit's variables as systemd understands them. */
function environmentIn(text: string): string[] {
  const lines = text.split('\n').filter((line) => line.startsWith('Environment='))
  return lines.map((line) => line.slice('Environment='.length))
}

describe('the units of Hydra', () => {
  it.each<[string, Record<string, unknown>]>([
    ['as they are', {}],
    [
      'with all there is',
      {
        cache: { enable: true, directory: '/srv/a+b@c=d' },
        minimumDiskFree: 2,
        smtpHost: 'mail.example.org',
      },
    ],
    ['with an environment of every character', { extraEnv: { EVERY: everyCharacter(), EMPTY: '' } }],
    ['with IPv6', { listenHost: '::1' }],
    ['with logs of running builds', { nginx: { enable: true } }],
  ])('are accepted by systemd: %s', (_, hydra) => {
    expect(complaints(unitsOf(hydra))).toBe('')
  })

  it.each<[string, Partial<HydraFacts>]>([
    ['as they are', {}],
    ['with settings as options', { builderSettings: 'options' }],
    ['with an evaluator that has settings of its own', { evaluatorSettings: 'file' }],
  ])('are accepted by systemd when builders connect to the queue runner: %s', (_, facts) => {
    const units = unitsOf({ cache: { enable: true } }, { ...facts, runner: 'takes-builders' })
    expect(units.map(({ name }) => name)).toContain('hydra-builder.service')
    expect(complaints(units)).toBe('')
  })

  it('would be rejected with a mistake in them', () => {
    const [first] = unitsOf({})
    expect(
      complaints([{ name: 'broken.service', text: `${first?.text}\n[Service]\nRestart=sometimes\n` }]),
    ).toMatch(/restart specifier/)
  })

  it('pass each variable to a program unchanged', () => {
    const value = everyCharacter()
    const server = unitsOf({ extraEnv: { EVERY: value } }).find(({ name }) => name === 'hydra-server.service')
    const line = environmentIn(server?.text ?? '').find((each) => each.includes('EVERY=')) ?? ''
    // printf supports systemd.syntax(7)'s escapes for quotes and backslashes; `%%` is systemd's percent sign.
    const inner = line.slice(1, -1).replaceAll('%%', '%').replaceAll('\\"', '"')
    expect(execFileSync('printf', ['%b', inner], { encoding: 'utf8' })).toBe(`EVERY=${value}`)
  })
})

function everyCharacter(): string {
  return Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join('')
}

const harmonia = { kind: 'harmonia', name: 'harmonia-cache', keyVariable: 'SIGN_KEY_PATHS' } as const

describe('the units of a cache of the store', () => {
  it.each<[string, CacheProgram, string]>([
    ['nix-serve', { kind: 'nix-serve' }, '127.0.0.1'],
    ['nix-serve-ng', { kind: 'nix-serve-ng' }, '::1'],
    ['harmonia of today', { ...harmonia, notifies: true, readsDatabase: true }, '::'],
    [
      'an older harmonia',
      { ...harmonia, name: 'harmonia', notifies: false, readsDatabase: false },
      '0.0.0.0',
    ],
  ])('are accepted by systemd: %s', (_, program, address) => {
    const options = {
      address,
      port: 5000,
      secretKeyFile: '/etc/nix/ci/secret',
      package: join(root, 'package'),
    }
    const units = cacheServices(options, program).files.filter(({ path }) => path.endsWith('.service'))
    expect(units).not.toHaveLength(0)
    const texts = units.map(({ path, content }) => ({ name: basename(path), text: `${content}` }))
    expect(complaints(texts)).toBe('')
  })
})

describe('the list of other units', () => {
  it('is accepted by systemd', () => {
    const definition = debianMachine({
      nix: { gc: { automatic: true, dates: '*-*-* 03:15:00', options: '--delete-older-than 30d' } },
    })
    const units = gcUnits(nixOptions(definition.options)).map(({ path, content }) => ({
      name: path.split('/').at(-1) ?? '',
      text: content.replaceAll('/usr/bin/nix-collect-garbage', '/bin/true'),
    }))
    expect(units).toHaveLength(2)
    expect(complaints(units)).toBe('')
  })
})
