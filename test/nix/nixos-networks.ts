import type { MachineDefinition, NetworkDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { fixtureNixpkgs, type NixSandbox } from './real-nix.js'

/** The definition of a network's nixpkgs. */
export const network = `network.nixpkgs = ${fixtureNixpkgs};`

/** Definitions that every bootable system needs. */
export const bootable = 'boot.loader.grub.device = "/dev/vda"; fileSystems."/".device = "/dev/vda1";'

export function machineOf(evaluated: NetworkDefinition, name = 'web'): MachineDefinition {
  const machine = evaluated.machines.get(MachineName.parse(name))
  if (machine === undefined) throw new Error(`no machine ${name}`)
  return machine
}

/** Evaluates a network in which a machine puts values into its tags; returns the tags. */
export async function tagsOf(nix: NixSandbox, text: string, name = 'web'): Promise<readonly string[]> {
  nix.write('hydra.nix', text)
  return machineOf(await nix.evaluate('hydra.nix', { mode: 'shape' }), name).options.tags
}

/** A Hydra with everything that deployment.hydra sets up on NixOS. */
export const wholeHydra = `deployment.hydra = {
  enable = true;
  hostName = "hydra.example.org";
  cache.enable = true;
  nixServe.enable = true;
  nginx = { enable = true; cacheHostName = "cache.example.org"; };
  postfix.enable = true;
  openFirewall = true;
  autoOptimiseStore = true;
  trustedUsers = [ "alice" ];
  gc = { automatic = true; dates = "weekly"; };
  buildMachines = [ { hostName = "localhost"; systems = [ "x86_64-linux" ]; maxJobs = 2; supportedFeatures = [ "kvm" ]; } { hostName = "b.example.org"; systems = [ "aarch64-linux" ]; sshUser = "nix"; sshKey = "/etc/hydra/b.key"; } ];
  admin = { userName = "alice"; password.generate = true; };
};`

/** Returns the logical file of a NixOps network from 2018, which describes a machine with a Hydra. */
export const logical = (system: string, keyFile = '~/.ssh/id_rsa.pub') => `{
  network.description = "Hydra";
  my-hydra = { config, pkgs, ... }: {
    ${system}
    services.nixosManual.enable = false;
    services.ntp.enable = false;
    services.openssh = { allowSFTP = false; passwordAuthentication = false; permitRootLogin = "prohibit-password"; };
    users = {
      mutableUsers = false;
      users.root.openssh.authorizedKeys.keyFiles = [ ${keyFile} ];
    };
    nix = {
      trustedUsers = [ "hydra" "hydra-evaluator" "hydra-queue-runner" ];
      distributedBuilds = true;
      buildMachines = [ { hostName = "localhost"; systems = [ "x86_64-linux" "i686-linux" ]; maxJobs = 2; } ];
      gc = { automatic = true; dates = "15 3 * * *"; };
      extraOptions = "auto-optimise-store = true";
    };
    services.postfix = { enable = true; setSendmail = true; };
    services.postgresql = {
      enable = true;
      identMap = ''
        hydra-users hydra hydra
        hydra-users root hydra
      '';
    };
    services.hydra = {
      enable = true;
      useSubstitutes = true;
      hydraURL = "https://hydra.example.org";
      notificationSender = "hydra@example.org";
      extraConfig = "store_uri = file:///var/lib/hydra/cache?secret-key=/etc/nix/hydra.example.org/secret";
    };
    services.nix-serve = { enable = true; secretKeyFile = "/etc/nix/hydra.example.org/secret"; };
    services.nginx = {
      enable = true;
      recommendedProxySettings = true;
      virtualHosts."hydra.example.org".locations."/".proxyPass = "http://127.0.0.1:3000";
    };
    systemd.services.hydra-manual-setup = {
      description = "Create keys for Hydra";
      serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
      wantedBy = [ "multi-user.target" ];
      requires = [ "hydra-init.service" ];
      after = [ "hydra-init.service" ];
      environment = builtins.removeAttrs config.systemd.services.hydra-server.environment [ "PATH" ];
      script = ''
        if [ ! -e ~hydra/.setup-is-complete ]; then
          install -d -m 551 /etc/nix/hydra.example.org
          nix-store --generate-binary-cache-key hydra.example.org /etc/nix/hydra.example.org/secret /etc/nix/hydra.example.org/public
          touch ~hydra/.setup-is-complete
        fi
      '';
    };
  };
}`

/** The physical files of this NixOps network, which say where the machine runs. */
export const physicalFiles = {
  libvirt:
    'deployment.targetEnv = "libvirtd"; deployment.libvirtd = { memorySize = 2048; vcpu = 2; headless = true; baseImageSize = 20; };',
  virtualbox:
    'deployment.targetEnv = "virtualbox"; deployment.virtualbox = { memorySize = 2048; vcpu = 2; headless = true; };',
}
export const nixopsSystem =
  'fileSystems."/".device = "/dev/disk/by-label/nixos"; boot.loader.grub = { enable = true; version = 2; device = "/dev/sda"; };'
