# Describes Hydra as a NixOS machine's configuration defines it, for the set-up tasks of the machine.
config:
let
  inherit (builtins) attrNames concatMap concatStringsSep filter isList isString match unsafeDiscardStringContext;
  plain = value: unsafeDiscardStringContext (toString value);
  cfg = config.services.hydra;

  # Settings of a service that hold command lines; `textOf` joins all command lines.
  commands = [ "ExecStart" "ExecStartPost" "ExecStartPre" ];
  textOf = service: plain (concatStringsSep "\n" (
    map (name: service.${name} or "") [ "preStart" "script" "postStart" ]
    ++ concatMap (name: let value = service.serviceConfig.${name} or [ ]; in map toString (if isList value then value else [ value ])) commands
  ));
  lines = text: filter isString (builtins.split "\n" text);
  mentions = word: text: builtins.any (line: match ".*${word}.*" line != null) (lines text);
  services = config.systemd.services;
  texts = map (name: { inherit name; text = textOf services.${name}; }) (attrNames services);
  using = word: filter (each: mentions word each.text) texts;
  secretKeyFile = let given = config.deployment.hydra.cache.secretKeyFile; in
    toString (if given == null then "/etc/nix/${config.deployment.machine}/secret" else given);
in
{
  inherit (cfg) enable port;
  package = plain cfg.package;
  url = cfg.hydraURL;
  # User-defined services that do the work of a set-up task.
  keyMakers = map (each: { service = each.name; ours = mentions (builtins.replaceStrings [ "." "+" ] [ "[.]" "[+]" ] secretKeyFile) each.text; })
    (using "generate-binary-cache-key");
  userMakers = map (each: each.name) (using "hydra-create-user");
  # Settings that appear more than once in hydra.conf; Hydra would read their values as a list.
  doubled = filter
    (name: builtins.length (filter (line: match "[ \t]*${name}[ \t=].*" line != null) (lines cfg.extraConfig)) > 1)
    [ "store_uri" "binary_cache_secret_key_file" ];
  inherit secretKeyFile;
}
