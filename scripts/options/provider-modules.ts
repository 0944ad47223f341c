import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { SshConfig } from '../../providers/ssh/config.js'
import { VirtualBoxConfig } from '../../providers/virtualbox/config.js'
import { nixModule } from './nix-module.js'

/** Returns the text of each provider's options.nix, by its path. */
export function providerModules(): Record<string, string> {
  return {
    'providers/libvirt/options.nix': nixModule({ optionKey: 'libvirtd', schema: LibvirtConfig }),
    'providers/virtualbox/options.nix': nixModule({ optionKey: 'virtualbox', schema: VirtualBoxConfig }),
    'providers/ssh/options.nix': nixModule({ optionKey: undefined, schema: SshConfig }),
  }
}
