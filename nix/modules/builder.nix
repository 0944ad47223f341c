# Turns `deployment.builder.*` of a NixOS machine into options of NixOS: the account for logins, trust and features; and
# `deployment.binfmt.*`, the systems that the machine emulates.
#
# A machine that builds on other machines reads the list of these machines.
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

  # Nix's own lists of builders: those of the user's definition, or else the list of nix.buildMachines.
  defined = if has [ "nix" "settings" ] then config.nix.settings.builders or null else null;
  lists =
    if defined != null && defined != "" then [ defined ]
    else lib.optional config.nix.distributedBuilds "@/etc/nix/machines";
  # A set-up task writes this list, which may be missing.
  ownList = "@/etc/nix/hydra-ops-machines";
in
{
  config = mkMerge [
    # NixOS registers the emulators, and adds these systems to Nix's configuration.
    (if has [ "boot" "binfmt" "emulatedSystems" ] then {
      boot.binfmt.emulatedSystems = config.deployment.binfmt.emulatedSystems;
    } else { })
    # nixpkgs writes an empty list of builders unless nix.distributedBuilds is set. The last line of nix.conf counts, so
    # these lines follow that one, and the lines of the user follow these.
    (mkIf (config.deployment.usesBuilders && ! config.deployment.hydra.enable) {
      nix.extraOptions = lib.mkBefore ''
        builders = ${lib.concatStringsSep ";" (lists ++ [ ownList ])}
        builders-use-substitutes = true
      '';
    })
    # A set-up task writes this file once a builder has a cache; Nix ignores the line while the file is missing. The file
    # adds to the substituters of earlier lines, and a later line would replace them.
    (mkIf config.deployment.usesBuilders {
      nix.extraOptions = lib.mkAfter "!include /etc/nix/hydra-ops-caches.conf\n";
    })
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
