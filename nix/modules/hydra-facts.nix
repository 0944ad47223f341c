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

  # The enabled service that serves the store. Old releases have neither harmonia nor a package option of nix-serve.
  nixServe = config.services.nix-serve;
  harmonia = config.services.harmonia or { };
  harmoniaCache = harmonia.cache or harmonia;
  bind = match "(.*):([0-9]+)" (harmoniaCache.settings.bind or "[::]:5000");
  bare = address: let inner = match "\\[(.*)]" address; in if inner == null then address else builtins.head inner;
  storeServer =
    if ! config.deployment.hydra.nixServe.enable then null
    else if harmoniaCache.enable or false then if bind == null then null else {
      unit = "harmonia.service";
      package = plain harmonia.package;
      address = bare (builtins.head bind);
      port = builtins.fromJSON (builtins.elemAt bind 1);
      ours = map toString (harmoniaCache.signKeyPaths or [ (harmoniaCache.signKeyPath or "") ]) == [ secretKeyFile ];
    }
    else if nixServe.enable then {
      unit = "nix-serve.service";
      package = if nixServe ? package then plain nixServe.package else null;
      address = nixServe.bindAddress;
      inherit (nixServe) port;
      ours = toString nixServe.secretKeyFile == secretKeyFile;
    }
    else null;
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
  # `ours` tells whether the service signs with the file of the options.
  inherit secretKeyFile storeServer;
}
