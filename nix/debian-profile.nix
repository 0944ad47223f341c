# Builds the closure of a Debian machine: ONE derivation, without nixpkgs and without any program except a shell.
#
#   <out>/bin, /share, …   the packages, merged as a profile merges them
#   <out>/manifest.nix     the wanted state of the machine; the name is buildenv's, the format is described below
#   <out>/hydra-ops/activate.pl   the program that applies the manifest to the machine
#
# The manifest has one record on each line: a JSON array of strings, as `builtins.toJSON` writes arrays. A record thus
# never holds a line feed. The last record gives the size in bytes of all others, as a check on the shell that copied
# them.
#
#   ["file", path, mode, user, group, text]       ["source", path, mode, user, group, store path]
#   ["unit", name, "enable" or "", text, hash of restartTriggers]
#   ["apt", package]  ["host", address, "name name2"]  ["activate", store path]  ["end", bytes]
#   ["keep", text]: no action; the store paths in the text belong to the closure
{
  name,
  system ? builtins.currentSystem,
  # Derivations or store paths; their `bin` and `sbin` are on every user's PATH.
  packages ? [ ],
  # Derivations or store paths that units run: also on the PATH, but with a lower priority than `packages`.
  services ? [ ],
  # path -> { text or source; mode, user, group }
  files ? { },
  # name with suffix -> { text; enable; restartTriggers }
  units ? { },
  # A derivation with bin/activate.
  activate ? null,
  # Texts that refer to packages that the machine needs, even if no other option mentions the packages.
  keep ? [ ],
  aptPackages ? [ ],
  # [ { address; names; } ]
  hosts ? [ ],
}:
let
  inherit (builtins) attrNames concatMap concatStringsSep hashString isAttrs isString map replaceStrings stringLength toJSON typeOf;

  quoted = text: "\"${text}\"";

  # --- files -------------------------------------------------------------------------------------------------

  checks = import ./debian-checks.nix;
  checked = option: problems: value:
    if problems == [ ] then value
    else
      let first = builtins.head problems; in
      throw "${concatStringsSep "." ([ option ] ++ first.option)}: ${first.say}";

  # Copies a path of the operator host to the store, under a name that the store always accepts.
  sourcePath = source: if typeOf source == "path" then builtins.path { path = source; name = "file"; } else "${source}";

  fileRecord = path:
    let
      file = files.${path};
      text = file.text or null;
      owner = [ (file.mode or "0644") (file.user or "root") (file.group or "root") ];
    in
    checked "deployment.files.${quoted path}" (checks.fileProblems true path file) (
      if text != null then [ "file" path ] ++ owner ++ [ text ] else [ "source" path ] ++ owner ++ [ (sourcePath file.source) ]
    );

  # --- units -------------------------------------------------------------------------------------------------

  unitRecord = unit:
    let wanted = units.${unit}; in
    checked "deployment.units.${quoted unit}" (checks.unitProblems unit wanted) [
      "unit"
      unit
      (if wanted.enable or true then "enable" else "")
      wanted.text
      (hashString "sha256" (toJSON (wanted.restartTriggers or [ ])))
    ];

  # --- packages ----------------------------------------------------------------------------------------------

  # Chooses outputs as nixpkgs' environment.systemPackages does: meta.outputsToInstall, unless one output was chosen.
  outputsOf = package:
    if isAttrs package && package ? meta.outputsToInstall && ! (package.outputSpecified or false)
    then map (output: package.${output}) package.meta.outputsToInstall
    else [ package ];
  priorityOf = package: if isAttrs package then package.meta.priority or 5 else 5;
  # buildenv's format: active, priority, number of paths, paths. A smaller priority wins.
  entry = priority: path: [ "true" priority 1 "${path}" ];

  # A path given as text has no string context, and the closure would otherwise lack the path.
  storePath = service:
    if isString service && ! builtins.hasContext service
    then builtins.appendContext service { ${service} = { path = true; }; }
    else "${service}";

  # --- the closure -------------------------------------------------------------------------------------------

  # The user's own /etc/hosts replaces the block with the LAN's names.
  wantedHosts = if files ? "/etc/hosts" then [ ] else hosts;

  records =
    map fileRecord (attrNames files)
    ++ map unitRecord (attrNames units)
    ++ map (package: [ "apt" package ]) aptPackages
    ++ map (host: [ "host" host.address (concatStringsSep " " host.names) ]) wantedHosts
    ++ (if activate == null then [ ] else [ [ "activate" "${activate}" ] ])
    ++ map (text: [ "keep" text ]) keep;
  lines = concatStringsSep "" (map (record: "${toJSON record}\n") records);
  text = "${lines}${toJSON [ "end" (toString (stringLength lines)) ]}\n";

  # `toFile` refuses a text that refers to packages, because `toFile` keeps no references. A derivation keeps them. The
  # derivation's shell uses only builtins, because a sandbox may have no other programs. `read -r` of dash 0.5.12,
  # bash 5.2 and busybox 1.35 keeps every byte except NUL (measured). No Nix string has NUL.
  manifest =
    if ! builtins.hasContext text then builtins.toFile "hydra-ops-manifest" text
    else derivation {
      name = "hydra-ops-manifest";
      inherit system text;
      builder = "/bin/sh";
      args = [ "-c" "set -e; while IFS= read -r line; do printf '%s\\n' \"$line\"; done <\"$textPath\" >\"$out\"" ];
      passAsFile = [ "text" ];
      preferLocalBuild = true;
      allowSubstitutes = false;
    };

  program = builtins.path {
    name = "hydra-ops-program";
    path = ./target;
  };
in
derivation {
  name = "hydra-ops-${replaceStrings [ " " ] [ "-" ] name}";
  system = "builtin";
  builder = "builtin:buildenv";
  inherit manifest;
  derivations =
    [ (entry 0 program) ]
    ++ concatMap (package: map (entry (priorityOf package)) (outputsOf package)) packages
    # Each service has its own priority, so two services that contain the same program do not clash.
    ++ builtins.genList (index: entry (1000 + index) (storePath (builtins.elemAt services index))) (builtins.length services);
  preferLocalBuild = true;
  allowSubstitutes = false;
}
