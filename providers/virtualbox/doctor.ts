import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Finding } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { allowedRanges } from './host-only.js'
import type { VirtualBoxParts } from './places.js'
import { createVBoxManage, isAbsent, parseVersion } from './vboxmanage.js'

/** The oldest series of VirtualBox with which the provider is tested. */
const oldestSeries = 7

/** Checks VirtualBox on this host. A host without VirtualBox has no problem, because other providers may suffice. */
export async function doctor(parts: VirtualBoxParts, run: Run): Promise<Finding[]> {
  const version = await checkVersion(parts, run)
  if (version === undefined) {
    const what = 'VirtualBox is not installed; only machines with deployment.targetEnv = "virtualbox" need it'
    return [{ id: 'virtualbox.program', level: 'note', what, mend: installIt }]
  }
  return [version, ...hostFindings(parts)]
}

const installIt = 'install VirtualBox 7 from https://www.virtualbox.org/wiki/Linux_Downloads'

/** Returns advice after a failed start, if this host shows a reason. */
export async function startHint(parts: VirtualBoxParts, _run: Run): Promise<string | undefined> {
  const problem = hostFindings(parts).find(({ level }) => level === 'problem')
  if (problem === undefined) return undefined
  return problem.mend === undefined ? problem.what : `${problem.what}: ${problem.mend}`
}

async function checkVersion(parts: VirtualBoxParts, run: Run): Promise<Finding | undefined> {
  const id = 'virtualbox.program'
  const call = { what: 'ask VirtualBox for its version' }
  try {
    const outcome = await createVBoxManage(parts).attempt(['--version'], call, run)
    const version = parseVersion(outcome.kind === 'done' ? outcome.stdout : outcome.failure.stdout)
    if (outcome.kind === 'failed' || version === undefined) {
      const why = outcome.kind === 'failed' ? outcome.failure.message : 'it names no version'
      return { id, level: 'problem', what: `VBoxManage does not work: ${why}`, mend: installIt }
    }
    if (Number(version.split('.')[0]) < oldestSeries) {
      const what = `VirtualBox ${version} is older than ${oldestSeries}.0, with which this provider is tested`
      return { id, level: 'note', what, mend: installIt }
    }
    return { id, level: 'ok', what: `VirtualBox ${version}` }
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw error
  }
}

function hostFindings(parts: VirtualBoxParts): Finding[] {
  return [...checkDriver(parts), ...checkKvm(parts), ...checkGroup(parts), checkRanges(parts)]
}

function checkDriver({ hostRoot }: VirtualBoxParts): Finding[] {
  const id = 'virtualbox.driver'
  const device = statSync(join(hostRoot, 'dev', 'vboxdrv'), { throwIfNoEntry: false })
  if (device?.isCharacterDevice() === true)
    return [{ id, level: 'ok', what: "VirtualBox's kernel module is loaded" }]
  const secure = isSecureBoot(hostRoot)
  const what = `VirtualBox's kernel module is not loaded (there is no /dev/vboxdrv)${secure ? ', and Secure Boot refuses unsigned modules' : ''}`
  const build =
    'sudo apt-get install -y "linux-headers-$(uname -r)" && sudo /sbin/vboxconfig && sudo modprobe vboxdrv'
  const sign =
    'sudo mokutil --import /var/lib/shim-signed/mok/MOK.der, reboot and enroll the key, then sudo /sbin/vboxconfig'
  return [{ id, level: 'problem', what, mend: secure ? sign : build }]
}

/** Reads the firmware's variable SecureBoot, whose last byte is 1 while Secure Boot is on. */
function isSecureBoot(hostRoot: string): boolean {
  const folder = join(hostRoot, 'sys', 'firmware', 'efi', 'efivars')
  if (!existsSync(folder)) return false
  const name = readdirSync(folder).find((each) => each.startsWith('SecureBoot-'))
  return name !== undefined && readFileSync(join(folder, name)).at(-1) === 1
}

/**
 * Reports that KVM holds the processor's virtualisation extensions. A running guest suffices; since Linux 6.12 the
 * loaded module suffices too.
 */
function checkKvm({ hostRoot }: VirtualBoxParts): Finding[] {
  const id = 'virtualbox.kvm'
  const holder = ['kvm_intel', 'kvm_amd'].find(
    (name) => readOr(join(hostRoot, 'sys', 'module', name, 'refcnt'), '0').trim() !== '0',
  )
  const eager = readOr(join(hostRoot, 'sys', 'module', 'kvm', 'parameters', 'enable_virt_at_load'), 'N')
  const loaded = ['kvm_intel', 'kvm_amd'].find((name) => existsSync(join(hostRoot, 'sys', 'module', name)))
  const held = holder ?? (eager.trim() === 'Y' ? loaded : undefined)
  if (held === undefined) return []
  return [
    {
      id,
      level: 'problem',
      what: `KVM (${held}) holds the processor's virtualisation, so that VirtualBox cannot start guests`,
      mend: `stop the guests of KVM, then run sudo modprobe -r ${held} kvm`,
    },
  ]
}

function readOr(file: string, otherwise: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : otherwise
}

function checkGroup({ hostRoot, uid }: VirtualBoxParts): Finding[] {
  const groups = readOr(join(hostRoot, 'etc', 'group'), '')
  const [, gid, members = ''] = /^vboxusers:[^:]*:(\d+):(.*)$/m.exec(groups) ?? []
  if (gid === undefined || uid === 0) return []
  const [, name] =
    new RegExp(`^([^:]+):[^:]*:${uid}:`, 'm').exec(readOr(join(hostRoot, 'etc', 'passwd'), '')) ?? []
  if (name === undefined || members.split(',').includes(name)) return []
  return [
    {
      id: 'virtualbox.group',
      level: 'note',
      what: `user ${name} is not in group vboxusers, which host-only adapters and USB devices may need`,
      mend: `sudo adduser ${name} vboxusers   # then log in again`,
    },
  ]
}

function checkRanges({ hostRoot }: VirtualBoxParts): Finding {
  const { ranges, fromFile } = allowedRanges(hostRoot)
  const where = fromFile ? '/etc/vbox/networks.conf' : 'there is no /etc/vbox/networks.conf'
  return {
    id: 'virtualbox.host-only',
    level: 'ok',
    what: `host-only networks may use ${ranges.join(', ') || 'no IPv4 range'} (${where})`,
  }
}
