import { RealVirtualBox } from '../fixtures/virtualbox/real-virtualbox.js'
import { openSession } from '../providers/virtualbox/session.js'
import { virtualBoxContract } from './virtualbox-contract.js'

// A VM without the driver starts only with an interpreter, and on no internal network.
const options = { extraFlags: { 'vm-execution-engine': 'recompiler' }, lan: false }

virtualBoxContract('virtualbox on the real VBoxManage', options, async () => {
  const real = await RealVirtualBox.open({ driverless: true })
  const session = await openSession({ other: { folder: real.folder, program: real.command } })
  return {
    session,
    dispose: async () => {
      session.dispose()
      await real.dispose()
    },
  }
})
