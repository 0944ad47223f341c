import type { CommonOptions } from '../src/core/common-options.js'

/** Options of other tools that hydra-ops accepts only as `false`, with the message for `true`. */
const onlyFalse: readonly (readonly [keyof CommonOptions, string])[] = [
  ['allowLocalDeployment', 'this option is not supported yet'],
  ['buildOnTarget', 'this option is not supported yet'],
  ['buildOnly', 'not supported; leave the machine out with --exclude, or use deploy --build-only'],
  [
    'provisionSSHKey',
    'not supported, because hydra-ops installs no key on an existing host; keep your key in users.users.root.openssh.authorizedKeys',
  ],
  ['replaceUnknownProfiles', 'not supported as an option; use deploy --replace-unknown'],
  [
    'storeKeysOnMachine',
    'not supported, because no secret may enter the Nix store; a key in a destDir outside /run survives a reboot',
  ],
]

/** Reports options of other tools that hydra-ops would otherwise ignore silently. */
export function missingPowers(options: CommonOptions): { path: string[]; say: string }[] {
  return onlyFalse.flatMap(([name, say]) =>
    options[name] === true ? [{ path: ['deployment', name], say }] : [],
  )
}

/** Providers of NixOps that hydra-ops does not support, as in the names of their options. */
const providers = 'ec2|gce|azure|azure-mgmt|digitalOcean|hetzner|container|packet|vmware|route53|datadog'

/** Options of NixOps that hydra-ops does not support, each with the alternative. */
const elsewhere: readonly (readonly [RegExp, string])[] = [
  [
    new RegExp(`^deployment\\.(?:${providers})(?:\\.|$)`),
    'hydra-ops has no provider with this name; use an existing host with deployment.targetEnv = "none"',
  ],
  [
    /^deployment\.libvirtd\.imageDir$/,
    'the disks are in the state folder; deployment.libvirtd.storagePool puts them into a pool of libvirt',
  ],
  [
    /^deployment\.encryptedLinksTo$/,
    'hydra-ops does not create tunnels between machines; use networking.wireguard of NixOS',
  ],
  [
    /^networking\.vpnPublicKey$/,
    'hydra-ops does not create tunnels between machines; use networking.wireguard of NixOS',
  ],
  [
    /^deployment\.autoLuks(?:\.|$)/,
    'hydra-ops does not encrypt disks; use boot.initrd.luks.devices of NixOS',
  ],
  [
    /^deployment\.autoRaid0(?:\.|$)/,
    'hydra-ops does not combine disks; create the volume by hand, and name the volume in fileSystems',
  ],
]

/** Returns the alternative to an option of NixOps that hydra-ops does not support. */
export function insteadOfPeerOption(option: string): string | undefined {
  return elsewhere.find(([pattern]) => pattern.test(option))?.[1]
}
