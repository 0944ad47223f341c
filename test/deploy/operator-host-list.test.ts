import type * as fs from 'node:fs'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ensureBuilderKey, syncOperatorBuilders } from '../../src/machine/operator-builders.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { taskRun } from '../fakes/task-run.js'

/** Text of /etc/nix/machines of this host; `undefined` means that the file is missing. */
const host = vi.hoisted(() => ({ list: undefined as string | undefined }))

vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>()
  return {
    ...real,
    readFileSync: (path: string, ...more: ['utf8']) => {
      if (path !== '/etc/nix/machines') return real.readFileSync(path, ...more)
      if (host.list === undefined) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
      return host.list
    },
  }
})

let ops: FakeOps
beforeEach(async () => {
  ops = await createFakeOps()
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

/** Removes the key of this host's Nix; returns the notices. */
async function removed(list: (keyFile: string) => string | undefined): Promise<readonly string[]> {
  const record = await ops.store.resolve(undefined)
  const keyFile = ops.secrets.of(record.uuid).builderKeyFile
  await ensureBuilderKey(ops, record, taskRun())
  host.list = list(keyFile)
  await syncOperatorBuilders(ops, record, false, taskRun())
  return ops.emitted.flatMap((event) =>
    event.kind === 'notice' ? [event.text.replaceAll(keyFile, 'KEY')] : [],
  )
}

it('a host that no longer has a builder is told about the lines of root that name its key', async () => {
  expect(await removed((key) => `ssh://nix-builder@b1 x86_64-linux ${key} 4 1 - - -\n`)).toEqual([
    'this host no longer has a builder: remove the lines with KEY from /etc/nix/machines',
  ])
})

it.each([['other lines'], [undefined]])(
  'a host with %s in the list of root gets no such notice',
  async (list) => {
    expect(await removed(() => list)).toEqual([])
  },
)
