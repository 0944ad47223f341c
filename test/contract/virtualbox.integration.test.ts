import { openSession } from '../providers/virtualbox/session.js'
import { virtualBoxContract } from './virtualbox-contract.js'

virtualBoxContract('virtualbox', {}, async () => {
  const session = await openSession()
  return { session, dispose: async () => session.dispose() }
})
