import { openSession } from './session.js'
import { snapshotCases } from './snapshot-cases.js'

snapshotCases({
  name: 'the stand-in',
  open: async () => {
    const session = await openSession()
    return { session, dispose: async () => session.dispose() }
  },
})
