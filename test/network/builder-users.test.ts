import { afterEach, beforeEach, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { usageError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { evaluateNetwork, type Select } from '../../src/network/evaluate.js'
import { b1Offer } from '../fakes/builder-peers.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { nixosDefinition } from '../fakes/nixos-definition.js'

const [b1, ci] = [MachineName.parse('b1'), MachineName.parse('ci')]
const builder = fakeMachine('b1', { deployment: { builder: { enable: true, for: ['ci'] } } })
const idle = fakeMachine('b1')
const user = nixosDefinition('ci')

let ops: FakeOps
let told: string[]
beforeEach(async () => {
  told = []
  ops = await createFakeOps({ network: fakeNetwork([idle, user]) })
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

/** Evaluates a network of these machines, and returns each evaluation with its users of builders. */
async function evaluations(machines: readonly MachineDefinition[], select?: Select) {
  ops.nix.network = fakeNetwork(machines)
  ops.nix.evaluations.length = 0
  const { uuid } = await ops.store.resolve('net')
  const run = { signal: ops.signal, log: (line: string) => told.push(line) }
  const options = { args: {}, searchPath: [], nix: { showTrace: false, options: [] }, select }
  await ops.store.lock(uuid, (held) => evaluateNetwork(ops, held, options, run))
  return ops.nix.evaluations.map(({ mode, physical }) => [
    mode,
    Object.entries(physical).flatMap(([name, { usesBuilders }]) => (usesBuilders ? [name] : [])),
  ])
}

/** Records the offer of `b1` for `ci`, as its set-up task leaves the offer after a deploy. */
async function offer() {
  const { uuid } = await ops.store.resolve('net')
  await ops.store.lock(uuid, async (held) => {
    const record = structuredClone(held.record.machines[b1])
    if (record === undefined) throw new Error('there is no record of b1')
    const outputs = { user: 'nix-builder', for: 'ci', entry: b1Offer }
    record.tasks = { builder: { inputs: '', outputs, at: '2026-01-01T00:00:00.000Z' } }
    await held.updateMachine(b1, (draft) => Object.assign(draft, record))
  })
}

it('the first evaluation of new machines knows for which machine others build', async () => {
  expect(await evaluations([builder, user])).toEqual([
    ['shape', []],
    ['write', ['ci']],
  ])
})

it('a NixOS machine is evaluated again when it begins to build on others, and when it ends to do so', async () => {
  await evaluations([idle, user])
  expect(await evaluations([builder, user])).toEqual([
    ['write', []],
    ['write', ['ci']],
  ])
  await offer()
  expect(await evaluations([builder, user])).toEqual([['write', ['ci']]])
  expect(await evaluations([idle, user])).toEqual([
    ['write', ['ci']],
    ['write', []],
  ])
  expect(await evaluations([user])).toEqual([
    ['write', ['ci']],
    ['write', []],
  ])
})

it('an added machine costs no further evaluation beside those of its allocation', async () => {
  await evaluations([idle, user])
  expect(await evaluations([builder, user, fakeMachine('web')])).toEqual([
    ['write', []],
    ['shape', []],
    ['write', ['ci']],
  ])
})

it('the second evaluation repeats no warning', async () => {
  await evaluations([idle, user])
  const { evaluate } = ops.nix
  ops.nix.evaluate = (request, run) => {
    run.log("machine 'ci': a warning")
    if (request.physical[ci]?.usesBuilders) run.log("machine 'ci': a warning about builders")
    return evaluate(request, run)
  }
  await evaluations([builder, user])
  expect(told).toEqual(["machine 'ci': a warning", "machine 'ci': a warning about builders"])
})

it('a machine that is not evaluated causes no second evaluation', async () => {
  await evaluations([idle, user])
  expect(await evaluations([builder, fakeMachine('ci')])).toEqual([['write', []]])
  await offer()
  expect(await evaluations([idle, user], () => [b1])).toEqual([
    ['shape', ['ci']],
    ['write', []],
  ])
})

it('the last offer of a builder counts while its definition is invalid', async () => {
  await evaluations([idle, user])
  await offer()
  ops.nix.invalid.set(b1, usageError("machine 'b1' (net.nix): tagz: unknown option", { machine: b1 }))
  expect(await evaluations([builder, user], () => [ci])).toEqual([
    ['shape', ['ci']],
    ['write', ['ci']],
  ])
})
