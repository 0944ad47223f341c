import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { faultCases } from './fault-cases.js'
import { machinesOf } from './made-machines.js'
import { openSession, type Session } from './session.js'

faultCases({
  name: 'the stand-in',
  open: async () => {
    const session = await openSession()
    // The stand-in has no process that keeps settings in memory.
    return { session, forgotten: async () => {}, dispose: async () => session.dispose() }
  },
})

let session: Session
beforeAll(async () => {
  session = await openSession()
})
afterAll(() => session?.dispose())

const { make, plan, destroy } = machinesOf(() => session)

describe('options of VBoxManage that the user adds', () => {
  it('that VirtualBox forgets are no change forever: --nat-localhostreachable1 reads back as on', async () => {
    const made = await make({ vmFlags: ['--nat-localhostreachable1', 'off'] })
    session.behave('pretend', 'restarted')
    const shown = await session.vbox('showvminfo', made.handle.uuid, '--machinereadable')
    session.behave('pretend')
    expect(shown).toContain('localhostReachable="1"')
    expect(await plan(made)).toEqual([])
    await destroy(made)
  })
})

describe('the verbs of VBoxManage', () => {
  it('whose exit status does not tell a deadline from success are never used', async () => {
    const used = new Set<string>()
    const counting = session.providerWith({
      local: {
        run: (argv, options) => {
          if (argv[0] === session.standIn.program) used.add(argv[1] ?? '')
          return session.local.run(argv, options)
        },
      },
    })
    const resource = await session.makeResource()
    const options = { allowRestart: true, allowRecreate: false, checkpoint: async () => {} }
    const made = { ...resource, handle: await counting.reconcile(resource, options, session.run) }
    await counting.start(made, session.run)
    await counting.stop(made, { graceMs: 0 }, session.run)
    await counting.destroy(made, session.run)
    expect([...used]).toContain('startvm')
    expect([...used]).not.toContain('guestproperty')
  })
})
