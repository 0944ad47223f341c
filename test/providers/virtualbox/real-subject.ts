import { RealVirtualBox } from '../../fixtures/virtualbox/real-virtualbox.js'
import type { Subject } from './made-machines.js'
import { openSession } from './session.js'

/** The real VBoxManage with machines that start without the driver, by an interpreter and on no internal network. */
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
