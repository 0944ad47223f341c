import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { VirtualBoxResource } from '../../providers/virtualbox/places.js'
import type { LocalCommands } from '../../src/core/context.js'
import { openSession, type Session } from '../providers/virtualbox/session.js'

/** Verbs of VBoxManage that only read: a crash after one of them is a crash after the call before. */
const readers: ReadonlySet<string> = new Set(['list', 'showvminfo', 'getextradata', '--version'])

class Crash extends Error {}

const config = {
  disks: { data: { port: 1, size: 16 } },
  natForwards: [],
  sharedFolders: { tmp: { hostPath: '/tmp' } },
}

let session: Session
beforeAll(async () => {
  session = await openSession()
})
afterAll(() => session?.dispose())

/** Runs commands, and ends after the n-th call that changes VirtualBox, or before it. */
function dyingCommands(stopAt: number, when: 'before' | 'after') {
  let count = 0
  const calls: string[] = []
  const run: LocalCommands['run'] = async (argv, options) => {
    const changes = argv[0] === session.standIn.program && !readers.has(argv[1] ?? '')
    if (!changes) return session.local.run(argv, options)
    count += 1
    calls.push(argv.slice(1, 3).join(' '))
    if (count === stopAt && when === 'before') throw new Crash('the process ends here')
    const result = await session.local.run(argv, options)
    if (count === stopAt) throw new Crash('the process ends here')
    return result
  }
  return { calls, local: { run } }
}

const options = { allowRestart: true, allowRecreate: false, checkpoint: async () => {} }

async function live(provider: Session['provider'], resource: VirtualBoxResource): Promise<void> {
  const handle = await provider.reconcile(resource, options, session.run)
  await provider.start({ ...resource, handle }, session.run)
}

describe('a process that ends at a call of VBoxManage', () => {
  it('leaves a machine that the next run finishes, and that a destroy removes without rest', async () => {
    const before = await session.registry()
    const whole = dyingCommands(0, 'after')
    const resource = await session.makeResource(config)
    const provider = session.providerWith(whole)
    await live(provider, resource)
    const made = whole.calls.length
    await provider.destroy(resource, session.run)
    const all = whole.calls.length
    expect(await session.registry()).toEqual(before)
    expect(made).toBeGreaterThan(8)

    for (let stopAt = 1; stopAt <= all; stopAt += 1) {
      const dying = dyingCommands(stopAt, 'after')
      const each = await session.makeResource(config)
      const doomed = session.providerWith(dying)
      await expect(
        (async () => {
          await live(doomed, each)
          await doomed.destroy(each, session.run)
        })(),
      ).rejects.toBeInstanceOf(Crash)
      const where = `after call ${stopAt}, ${dying.calls.at(-1)}`
      if (stopAt <= made) {
        await live(session.provider, each)
        const handle = await session.provider.reconcile(each, options, session.run)
        expect(await session.provider.plan({ ...each, handle }, session.run), where).toEqual([])
      }
      await session.provider.destroy(each, session.run)
      expect(await session.registry(), where).toEqual(before)
      expect(existsSync(each.disks), where).toBe(false)
    }
  })
})
