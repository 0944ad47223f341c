import { existsSync } from 'node:fs'
import type { Finding } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import type { LibvirtParts } from './places.js'
import { createVirsh, daemonCode, defaultUri, isConnectionError, isSystem, startDaemon } from './virsh.js'

/** Checks only libvirt; programs and user namespaces are checked for all providers. */
export async function doctor(parts: LibvirtParts, run: Run): Promise<Finding[]> {
  const uri = defaultUri(parts.uid)
  const daemon = await checkDaemon(parts, uri, run)
  // Another check reports a missing virsh.
  if (daemon === undefined) return []
  const emulator = daemon.level === 'ok' ? [await checkEmulator(parts, uri, run)] : []
  return [daemon, ...emulator, await checkKvm(parts, run)]
}

async function checkDaemon(parts: LibvirtParts, uri: string, run: Run): Promise<Finding | undefined> {
  const id = 'libvirt.daemon'
  try {
    await createVirsh(parts.local, uri).must(['uri'], { what: 'connect to libvirt' }, run)
    return { id, level: 'ok', what: `libvirt answers at ${uri}` }
  } catch (error) {
    if (!isConnectionError(error)) throw error
    if (error.code !== daemonCode) return undefined
    return { id, level: 'problem', what: error.message, mend: mendDaemon(uri) }
  }
}

/**
 * Returns the command that repairs a daemon. The system daemon needs its own user and files, unlike the session
 * daemon.
 */
function mendDaemon(uri: string): string {
  if (!isSystem(uri) || existsSync('/etc/libvirt/qemu.conf')) return startDaemon(uri)
  return `sudo apt-get install -y --no-install-recommends libvirt-daemon-system && ${startDaemon(uri)}`
}

async function checkEmulator(parts: LibvirtParts, uri: string, run: Run): Promise<Finding> {
  const id = 'libvirt.emulator'
  const args = ['domcapabilities', '--virttype', 'qemu', '--arch', 'x86_64', '--machine', 'q35']
  const outcome = await createVirsh(parts.local, uri).attempt(args, { what: 'ask libvirt about QEMU' }, run)
  if (outcome.kind === 'done') return { id, level: 'ok', what: 'libvirt can run QEMU guests' }
  return {
    id,
    level: 'problem',
    what: `libvirt cannot run QEMU guests: ${outcome.failure.message}`,
    mend: 'sudo apt-get install -y --no-install-recommends libvirt-daemon-driver-qemu qemu-system-x86',
  }
}

/** Reports whether KVM works. A missing KVM is not a problem, because emulation replaces it. */
async function checkKvm(parts: LibvirtParts, run: Run): Promise<Finding> {
  const id = 'libvirt.kvm'
  const answer = await parts.kvm(run)
  if (answer.works) return { id, level: 'ok', what: 'KVM works: a test guest ran' }
  return {
    id,
    level: 'note',
    what: `KVM does not work (${answer.why}); guests run under emulation (TCG), which is slower`,
    mend: mendKvm(answer.why),
  }
}

function mendKvm(why: string): string {
  if (!existsSync('/dev/kvm')) return 'sudo modprobe kvm_intel || sudo modprobe kvm_amd'
  if (/Permission denied/.test(why))
    return 'sudo chgrp kvm /dev/kvm && sudo adduser "$USER" kvm   # then log in again'
  return 'sudo dmesg | grep -i kvm   # check that the firmware or the outer host enables virtualisation'
}
