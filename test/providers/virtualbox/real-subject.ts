import { RealVirtualBox } from '../../fixtures/virtualbox/real-virtualbox.js'
import type { Subject } from './made-machines.js'
import { openSession } from './session.js'

/**
 * The real VBoxManage, with machines that run in an interpreter, without the driver and without an internal network.
 */
export const realSubject: Subject = {
  name: 'the real VBoxManage',
  options: { extraFlags: { 'vm-execution-engine': 'recompiler' }, lan: false },
  open: async () => {
    const real = await RealVirtualBox.open({ driverless: true })
    const session = await openSession({ other: { folder: real.folder, program: real.command } })
    return {
      session,
      forgotten: () => real.killService(),
      dispose: async () => {
        session.dispose()
        await real.dispose()
      },
    }
  },
}
