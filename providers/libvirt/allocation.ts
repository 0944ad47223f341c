import type { AllocationRequest } from '../../src/core/provider.js'
import { lanOf, macChooser } from '../common/lan.js'
import { allocatePorts } from '../common/ports.js'
import { type LibvirtAllocation, type LibvirtConfig, portOption } from './config.js'
import { macAddress, names } from './names.js'

type Request = AllocationRequest<LibvirtConfig, LibvirtAllocation>

export async function allocate(request: Request): Promise<LibvirtAllocation> {
  const { config, known, deployment, machine } = request
  const wanted = { forwards: config.forwardPorts, option: portOption }
  const { sshPort, forwardPorts } = await allocatePorts(request, wanted, names)
  const others = [...request.siblings.values(), ...(known === undefined ? [] : [known])].flatMap(macsOf)
  const macOf = macChooser(others, (nic, attempt) => macAddress(deployment, machine, nic, attempt))
  return {
    mac: known?.mac ?? macOf('management'),
    nics: config.networks.map((_, nic) => known?.nics[nic] ?? macOf(String(nic))),
    sshPort,
    forwardPorts,
    lan: config.networks.includes('lan')
      ? lanOf(request, names, 'remove "lan" from deployment.libvirtd.networks of this machine')
      : null,
  }
}

function macsOf({ mac, nics }: LibvirtAllocation): string[] {
  return [mac, ...nics]
}
