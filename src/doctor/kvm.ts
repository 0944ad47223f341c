import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

const device = '/dev/kvm'
const slower = 'guests run by emulation (TCG), which works and is slow'

/** KVM that is there may still not work: only starting it tells. Never a problem, for TCG stands in. */
export async function checkKvm(host: HostProbe): Promise<Finding> {
  const id = 'kvm'
  if (!host.exists(device)) {
    return {
      id,
      level: 'note',
      what: `there is no ${device}: ${slower}`,
      mend: 'sudo modprobe kvm_intel || sudo modprobe kvm_amd',
    }
  }
  if (!host.usable(device)) {
    return {
      id,
      level: 'note',
      what: `${host.user.name} may not use ${device}: ${slower}`,
      mend: `sudo chgrp kvm ${device} && sudo chmod 0660 ${device} && sudo adduser ${host.user.name} kvm   # then log in anew`,
    }
  }
  const qemu = host.program('qemu-system-x86_64')
  if (qemu === undefined) return { id, level: 'note', what: `${device} is there; QEMU is not, to try it` }
  const tried = await host.run([qemu, ...startAndQuit], 'quit\n')
  if (tried?.kind === 'exited' && tried.code === 0) return { id, level: 'ok', what: 'KVM works' }
  return {
    id,
    level: 'note',
    what: `${device} is there but does not work (${reason(tried?.stderr)}): ${slower}`,
    mend: 'sudo dmesg | grep -i kvm   # is virtualisation switched on in the firmware, or nested for this host?',
  }
}

/** `-machine none` opens KVM and makes a virtual machine without any hardware in it. */
const startAndQuit = [
  ...['-machine', 'none,accel=kvm', '-nodefaults', '-display', 'none'],
  ...['-monitor', 'stdio'],
]

function reason(stderr: string | undefined): string {
  return (stderr ?? '').trim().split('\n').at(-1)?.trim() || 'QEMU does not answer'
}
