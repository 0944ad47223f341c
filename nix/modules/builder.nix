# Turns `deployment.builder.*` of a NixOS machine into options of NixOS: the account for logins, trust and features; and
# `deployment.binfmt.*`, the systems that the machine emulates.
#
# The keys that may log in are not part of the configuration. A set-up task writes the keys, because the machines that
# build here make their keys only after their first activation.
{ config, lib, options, ... }:
let
  inherit (lib) hasAttrByPath mkDefault mkIf mkMerge optionals;
  cfg = config.deployment.builder;
  has = path: hasAttrByPath path options;
  weak = mkDefault;
  features = optionals (cfg.supportedFeatures != null) cfg.supportedFeatures ++ cfg.mandatoryFeatures;
  # Newer releases want to know whether a user is one of the system.
  kind = if has [ "nix" "settings" ] then { isSystemUser = weak true; } else { };
in
{
  config = mkMerge [
    # NixOS registers the emulators, and tells Nix about these systems.
    (if has [ "boot" "binfmt" "emulatedSystems" ] then {
      boot.binfmt.emulatedSystems = config.deployment.binfmt.emulatedSystems;
    } else { })
    # A Nix in a home belongs to a user who is there, and has settings of its own.
    (mkIf (cfg.enable && cfg.wrapper == null) (mkMerge [
    {
      services.openssh.enable = weak true;
      users.users.${cfg.sshUser} = kind // {
        group = weak cfg.sshUser;
        home = weak "/var/lib/hydra-ops-builder/${cfg.sshUser}";
        # nologin would otherwise answer the forced command with a sentence, which Nix would take for a number of its
        # protocol.
        shell = weak "/bin/sh";
      };
      users.groups.${cfg.sshUser} = { };
    }
    (mkIf cfg.cache.enable {
      users.users.nix-cache = kind // {
        group = weak "nix-cache";
        home = weak "/var/lib/hydra-ops-builder/nix-cache";
        shell = weak "/bin/sh";
      };
      users.groups.nix-cache = { };
      # A set-up task writes this file once the key is there; Nix could build nothing with a missing key.
      nix.extraOptions = "!include /etc/nix/hydra-ops-signing.conf\n";
    })
    (if has [ "nix" "settings" ] then {
      nix.settings = mkMerge [
        { trusted-users = [ "root" cfg.sshUser ]; }
        (mkIf (features != [ ]) { extra-system-features = features; })
      ];
    } else {
      nix.trustedUsers = [ "root" cfg.sshUser ];
      nix.extraOptions = lib.optionalString (features != [ ]) "extra-system-features = ${toString features}\n";
    })
  ]))
  ];
}
