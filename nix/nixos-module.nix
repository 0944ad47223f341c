# hydra-ops's part of a NixOS machine's configuration, besides the options (options.nix, providers/*/options.nix).
{ config, lib, options, pkgs, ... }:
let
  inherit (builtins) concatMap filter hasContext isString;
  inherit (lib) mkOption;
  types = import ./types.nix lib;
  address = description: mkOption { type = types.nullOr types.str; default = null; inherit description; };

  # A check may run a program that nothing else on the machine names.
  programs = filter (word: isString word && hasContext word) (concatMap
    (checks: concatMap (check: check.cmd) checks.cmd)
    [ config.deployment.healthChecks config.deployment.preDeployChecks ]);
in
{
  imports = [ ./options.nix ./modules/hydra.nix ./modules/builder.nix ./modules/keys.nix ./modules/auto-update.nix ];

  options = {
    deployment = {
      name = mkOption { type = types.str; default = ""; description = "Name of the deployment."; };
      uuid = mkOption { type = types.str; default = ""; description = "UUID of the deployment."; };
      machine = mkOption { type = types.str; default = config.networking.hostName; description = "Name of the machine in the network."; };
      arguments = mkOption { type = types.unspecified; default = { }; description = "Function arguments of the network, by name."; };
      usesBuilders = mkOption { type = types.bool; default = false; description = "Whether another machine builds for this machine (`deployment.builder.for`)."; };
      networkHydra = mkOption { type = types.unspecified; default = { }; description = "The options `network.hydra`."; };
    };
    networking = {
      privateIPv4 = address "Address of the machine in the network of the deployment.";
      publicIPv4 = address "Address at which the operator host reaches the machine.";
      hostKey = address "Public host key of the machine's ssh server.";
    };
  };

  config =
    if options.system ? extraDependencies
    then { system.extraDependencies = if programs == [ ] then [ ] else [ (pkgs.writeText "hydra-ops-checks" (builtins.concatStringsSep "\n" programs)) ]; }
    else { };
}
