# The system of the image `nixos`: a small NixOS with its identity from a seed disk and a root login by key. The first
# deploy replaces the system. The options exist in every release since 17.03.
{ config, lib, options, pkgs, ... }:
let
  utilLinux = pkgs.util-linux or pkgs.utillinux;
  seedDisk = "dev-disk-by\\x2dlabel-cidata.device";
  beforeLogin = unit: {
    wantedBy = [ "multi-user.target" ];
    before = [ "nix-daemon.service" "sshd-keygen.service" "sshd.service" ];
    serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
  } // unit;
in
{
  config = {
    boot.kernelParams = [ "console=ttyS0" ];
    # The seed disk provides the host name.
    networking.hostName = "";
    services = {
      openssh = {
        enable = true;
        hostKeys = [ { path = "/etc/ssh/ssh_host_ed25519_key"; type = "ed25519"; } ];
      };
    } // (if options.services ? nixosManual then { nixosManual.enable = false; } else { });
    system.stateVersion = builtins.substring 0 5 (lib.version or lib.nixpkgsVersion);
    systemd.services = {
      hydra-ops-seed = beforeLogin {
        description = "Take the identity of the machine from its seed disk";
        script = builtins.readFile ../../target/image/take-nixos-seed.sh;
        path = [ utilLinux ];
        wants = [ seedDisk ];
        after = [ seedDisk ];
      };
      hydra-ops-grow = beforeLogin {
        description = "Grow the root file system to its disk";
        script = builtins.readFile ../../target/image/grow-nixos-root.sh;
        path = [ pkgs.e2fsprogs utilLinux ];
      };
      hydra-ops-register = beforeLogin {
        description = "Register the paths of the image in the Nix database";
        script = builtins.readFile ../../target/image/register-paths.sh;
        path = [ config.nix.package ];
      };
    };
  }
  // (if options ? documentation then { documentation.nixos.enable = false; } else { });
}
