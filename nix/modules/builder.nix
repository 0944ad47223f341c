# Turns `deployment.builder.*` of a NixOS machine into options of NixOS: the account for logins, trust and features; and
# `deployment.binfmt.*`, the systems that the machine emulates.
#
# The keys that may log in are not part of the configuration. A set-up task writes the keys, because the machines that
# build here generate their keys only after their first activation.
{ config, lib, options, ... }:
let
  inherit (lib) hasAttrByPath mkDefault mkIf mkMerge optionals;
  cfg = config.deployment.builder;
  has = path: hasAttrByPath path options;
  weak = mkDefault;
  features = optionals (cfg.supportedFeatures != null) cfg.supportedFeatures ++ cfg.mandatoryFeatures;
  # Newer releases require each user to be a system user or a normal user.
  kind = if has [ "nix" "settings" ] then { isSystemUser = weak true; } else { };
in
{
  config = mkMerge [
    # NixOS registers the emulators, and adds these systems to Nix's configuration.
    (if has [ "boot" "binfmt" "emulatedSystems" ] then {
      boot.binfmt.emulatedSystems = config.deployment.binfmt.emulatedSystems;
    } else { })
    # A Nix in a home folder (`wrapper`) belongs to an existing user, and has its own settings.
    (mkIf (cfg.enable && cfg.wrapper == null) (mkMerge [
    {
      services.openssh.enable = weak true;
      users.users.${cfg.sshUser} = kind // {
        group = weak cfg.sshUser;
        home = weak "/var/lib/hydra-ops-builder/${cfg.sshUser}";
        # nologin would otherwise answer the forced command with a sentence, which Nix would read as a number of its
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
      # A set-up task writes this file once the key exists; Nix could not build anything with a missing key.
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
