import { openSession } from './session.js'
import { snapshotCases } from './snapshot-cases.js'

snapshotCases({
  name: 'the stand-in',
  open: async () => {
    const session = await openSession()
    // The stand-in has no process that keeps settings in memory.
    return { session, forgotten: async () => {}, dispose: async () => session.dispose() }
  },
})
