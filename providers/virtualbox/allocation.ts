import type { AllocationRequest } from '../../src/core/provider.js'
import { lanOf, macChooser } from '../common/lan.js'
import { allocatePorts } from '../common/ports.js'
import { portOption, type VirtualBoxAllocation, type VirtualBoxConfig } from './config.js'
import { macAddress, names } from './names.js'

type Request = AllocationRequest<VirtualBoxConfig, VirtualBoxAllocation>

export async function allocate(request: Request): Promise<VirtualBoxAllocation> {
  const { config, known, deployment, machine } = request
  const wanted = { forwards: config.natForwards, option: portOption }
  const { sshPort, forwardPorts } = await allocatePorts(request, wanted, names)
  const others = [...request.siblings.values(), ...(known === undefined ? [] : [known])].flatMap(macsOf)
  const macOf = macChooser(others, (nic, attempt) => macAddress(deployment, machine, nic, attempt))
  return {
    mac: known?.mac ?? macOf('management'),
    hostOnlyMac: known?.hostOnlyMac ?? macOf('host-only'),
    lanMac: known?.lanMac ?? macOf('lan'),
    sshPort,
    forwardPorts,
    lan: config.lan
      ? { address: lanOf(request, names, 'set deployment.virtualbox.lan = false').address }
      : null,
  }
}

function macsOf({ mac, hostOnlyMac, lanMac }: VirtualBoxAllocation): string[] {
  return [mac, hostOnlyMac, lanMac]
}
