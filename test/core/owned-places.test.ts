import { describe, expect, it } from 'vitest'
import { ownedService, ownedUnit, placeProblems } from '../../src/core/owned-places.js'

const reserved = [
  { path: '/etc/nix/nix.conf', instead: 'deployment.nix.extraOptions', owner: "set-up task 'nix'" },
  { path: '/etc/postgresql/*/*/pg_hba.conf', instead: 'an option', owner: "set-up task 'postgresql'" },
  { path: '/srv/a.b/**', instead: 'another folder', owner: 'the cache' },
  { path: '/run/hydra-ops/**', instead: 'another folder', owner: 'hydra-ops itself' },
  ...[...ownedUnit('gc.timer', 'deployment.nix.gc'), ...ownedService('postgresql@*.service')].map(
    (place) => ({
      ...place,
      owner: 'a task',
    }),
  ),
]

const problems = (...paths: string[]) =>
  placeProblems(
    paths.map((path) => ({ option: ['deployment', 'files', path], path })),
    reserved,
  ).map(({ say }) => say)

describe('a place that a definition requests', () => {
  it('is refused when a task writes it, with the option for that purpose', () => {
    expect(problems('/etc/nix/nix.conf')).toEqual([
      "set-up task 'nix' writes /etc/nix/nix.conf; use deployment.nix.extraOptions",
    ])
  })

  it.each([
    '/etc/postgresql/15/main/pg_hba.conf',
    '/srv/a.b',
    '/srv/a.b/deep/nar/x.nar.xz',
    '/var/run/hydra-ops/mark',
    '/etc/nix/../nix//nix.conf',
    '/../var/lock/../run/./hydra-ops/mark/',
    '/etc/systemd/system/gc.timer',
    '/etc/systemd/system/timers.target.wants/gc.timer',
    '/etc/systemd/system/postgresql@15-main.service',
  ])('is refused under every name that it has: %s', (path) => {
    expect(problems(path)).toHaveLength(1)
  })

  it.each([
    '/etc/nix/nix.conf.d',
    '/etc/nix/registry.json',
    '/etc/postgresql/15/main/conf.d/own.conf',
    '/etc/postgresql/15/pg_hba.conf',
    '/srv/aXb/nar',
    '/srv/a.b2',
    '/etc/systemd/system/gc.timer.d/own.conf',
    '/etc/systemd/system/postgresql@15-main.service.d/own.conf',
  ])('is free beside the reserved places: %s', (path) => {
    expect(problems(path)).toEqual([])
  })

  it('is refused when it must be a folder of a reserved place', () => {
    expect(problems('/etc/nix')).toEqual([
      "/etc/nix is a folder on the machine: set-up task 'nix' writes /etc/nix/nix.conf",
    ])
  })

  it('is refused when another option requests it too', () => {
    const wanted = [
      { option: ['deployment', 'units', 'a.service'], path: '/etc/systemd/system/a.service' },
      {
        option: ['deployment', 'files', '/etc/systemd/system/a.service'],
        path: '/etc/systemd/system/a.service',
      },
    ]
    expect(placeProblems(wanted, [])).toEqual([
      {
        path: ['deployment', 'files', '/etc/systemd/system/a.service'],
        say: 'deployment.units."a.service" writes /etc/systemd/system/a.service too; keep one of the two options',
      },
    ])
  })

  it('may be a key, and no file, when the task accepts an existing file', () => {
    const place = [{ path: '/etc/nix/ci/secret', instead: 'a key', owner: 'a task', takesKey: true }]
    const at = (isKey: boolean) =>
      placeProblems([{ option: ['x'], path: '/etc/nix/ci/secret', isKey }], place).length
    expect([at(true), at(false)]).toEqual([0, 1])
  })
})
