import { expect, it } from 'vitest'
import { DeploymentUuid, StorePath } from '../../src/core/names.js'
import {
  compiledMachineFile,
  compiledUndividedState,
  MachineFile,
  schemaVersion,
  UndividedState,
} from '../../state/schema.js'
import { machineRecord } from './machine-record.js'

const uuid = DeploymentUuid.parse('7e1d5a4e-0c58-4f0b-9a53-0d3f7a0c1c11')
const machine = machineRecord({
  handle: { disks: ['a', 'b'] },
  intent: { action: 'change', resource: 'disk', since: '2026-01-01T00:00:00Z' },
  target: { host: 'web.example.org', port: 22, sshOptions: ['-4'], privilegeEscalation: ['sudo'] },
  deployed: {
    path: StorePath.parse(`/nix/store/${'0'.repeat(32)}-hydra-ops-profile`),
    at: '2026-01-01T00:00:00Z',
    run: 'run-1',
    files: { '/etc/motd': 'hash' },
    units: {},
    hydra: {
      url: 'https://hydra.example.org',
      project: 'infra',
      jobset: 'main',
      evaluation: 7,
      build: 70,
      job: 'web',
      inputs: { network: 'abc' },
    },
  },
  tasks: { nix: { inputs: 'x', outputs: { version: '2.8.0' }, at: '2026-01-01T00:00:00Z' } },
  facts: { osRelease: 'Debian GNU/Linux 12 (bookworm)', freeBytes: 1e9 },
  lastResult: 'changed',
})
const undivided = {
  schemaVersion,
  revision: 7,
  deployment: {
    uuid,
    name: 'lab',
    expressions: ['/srv/hydra.nix'],
    searchPath: ['nixpkgs=/srv/nixpkgs'],
    args: { size: '"big"' },
    createdAt: '2026-01-01T00:00:00Z',
  },
  machines: { web: machine },
}
const divided = { schemaVersion, revision: 7, deployment: uuid, name: 'web', machine }

/** Returns the paths of all objects and arrays in the state. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return []
  return [path, ...Object.entries(value).flatMap(([key, each]) => placesOf(each, [...path, key]))]
}

function at(state: object, path: readonly string[]): object {
  return path.reduce((found: object, key) => Reflect.get(found, key), state)
}

const values = [null, true, -1, 0, 1.5, 1e300, '', 'x', 'debian', [], [1], ['x'], {}, { x: 1 }, { x: 'y' }]

/** Yields the state without one of its values, or with another value in its place. */
function* changed(whole: object): Generator<unknown> {
  for (const path of placesOf(whole)) {
    for (const key of [...Object.keys(at(whole, path)), '__proto__', 'constructor', 'new', 'we b']) {
      for (const value of [undefined, ...values]) {
        const state: object = JSON.parse(JSON.stringify(whole))
        const place = at(state, path)
        if (value === undefined) Reflect.deleteProperty(place, key)
        else
          Object.defineProperty(place, key, { value, enumerable: true, configurable: true, writable: true })
        yield state
      }
    }
  }
}

it.each([
  ['a state with all its machines', UndividedState, compiledUndividedState(), undivided],
  ["a machine's file", MachineFile, compiledMachineFile(), divided],
])(
  'the compiled schema of %s accepts and refuses the same as the schema, for the same reasons',
  (_, schema, compiled, whole) => {
    // zod returns a schema unchanged if it cannot compile it.
    expect(compiled).not.toBe(schema)
    expect(compiled.safeParse(whole)).toEqual({ success: true, data: whole })
    const outcomes = { accepted: 0, refused: 0 }
    for (const state of changed(whole)) {
      const expected = schema.safeParse(state)
      const found = compiled.safeParse(state)
      expect(found.data).toStrictEqual(expected.data)
      expect(found.error?.issues).toEqual(expected.error?.issues)
      outcomes[expected.success ? 'accepted' : 'refused'] += 1
    }
    expect(outcomes.accepted).toBeGreaterThan(100)
    expect(outcomes.refused).toBeGreaterThan(1_000)
  },
)
