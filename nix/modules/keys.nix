# Gives each of a NixOS machine's `deployment.keys` its unit `NAME-key.service`, as NixOps does. The start of the unit
# waits until the key exists, and the unit stops when the key is removed. A service can name the unit in `requires` and
# `after`.
#
# The folder of units is part of the system. A deploy therefore cannot write the units there, as it does on Debian.
{ config, lib, ... }:
let
  inherit (builtins) attrNames filter listToAttrs match replaceStrings stringLength substring;
  inherit (lib) mkDefault nameValuePair;
  keys = config.deployment.keys;

  # The characters that a unit's name cannot have, and their escapes, as in src/core/key-unit-name.ts.
  special = [ " " "!" "\"" "#" "$" "%" "&" "'" "(" ")" "*" "+" "," ";" "<" "=" ">" "?" "@" "[" "\\" "]" "^" "`" "{" "|" "}" "~" ];
  escaped = map (code: "\\x${code}") [ "20" "21" "22" "23" "24" "25" "26" "27" "28" "29" "2a" "2b" "2c" "3b" "3c" "3d" "3e" "3f" "40" "5b" "5c" "5d" "5e" "60" "7b" "7c" "7d" "7e" ];
  unitOf = name:
    let start = if substring 0 1 name == "." then "\\x2e" else replaceStrings special escaped (substring 0 1 name); in
    "${start}${replaceStrings special escaped (substring 1 (stringLength name) name)}-key";

  # Nix cannot compute the code of a character outside ASCII. systemd accepts names of at most 255 characters.
  isPlain = text: match "[ -~]*" text != null;
  hasUnit = name: isPlain name && isPlain keys.${name}.path && stringLength "${unitOf name}.service" <= 255;
  forEach = make: listToAttrs (map (name: nameValuePair (unitOf name) (make name keys.${name}.path)) (filter hasUnit (attrNames keys)));

  # The unit has no script: a script is a store path with the key's name, and store paths refuse some characters. Each
  # check starts a program; with half a second between checks, two keys took a seventh of an emulated core.
  waits = word: seconds: path: mkDefault "/bin/sh -c '${word} [ -e \"$$0\" ]; do sleep ${seconds}; done' \"${wordOf path}\"";
  wordOf = replaceStrings [ "\\" "\"" "%" "$" ] [ "\\\\" "\\\"" "%%" "$$" ];
in
{
  config.systemd = {
    services = forEach (name: path: {
      description = "Key ${replaceStrings [ "%" ] [ "%%" ] name} of hydra-ops";
      serviceConfig = {
        ExecStartPre = waits "until" "1" path;
        ExecStart = waits "while" "5" path;
        TimeoutStartSec = mkDefault "infinity";
      };
      unitConfig.StartLimitIntervalSec = mkDefault 0;
      # A switch would otherwise wait for a key that arrives after the switch.
      restartIfChanged = mkDefault false;
    });
    # The unit runs whenever the key exists: after a boot, and after `send-keys`.
    paths = forEach (_: path: {
      wantedBy = [ "paths.target" ];
      pathConfig.PathExists = replaceStrings [ "%" ] [ "%%" ] path;
    });
  };
}
