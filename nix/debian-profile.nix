# Makes the closure of a Debian machine: ONE derivation, without nixpkgs and without any program but a shell.
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
  # Derivations or store paths; their `bin` and `sbin` get onto everybody's PATH.
  packages ? [ ],
  # Derivations or store paths that units run: on the PATH too, but weaker than `packages`.
  services ? [ ],
  # path -> { text or source; mode, user, group }
  files ? { },
  # name with suffix -> { text; enable; restartTriggers }
  units ? { },
  # A derivation with bin/activate.
  activate ? null,
  # Texts that name packages which the machine must have, though no other option mentions them.
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

  # The store copies a path of the operator host, under a name that the store allows.
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

  # A path given as text has no context that would bring the path along.
  storePath = service:
    if isString service && ! builtins.hasContext service
    then builtins.appendContext service { ${service} = { path = true; }; }
    else "${service}";

  # --- the closure -------------------------------------------------------------------------------------------

  # The user's own /etc/hosts takes the place of the block with the LAN's names.
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

  # `toFile` refuses text that mentions a package, because the closure of the package would otherwise not be copied. A
  # derivation keeps the closure. The derivation's shell uses builtins alone, because a sandbox may have no other
  # programs. `read -r` of dash 0.5.12, bash 5.2 and busybox 1.35 keeps every byte but NUL, which no Nix string has
  # (measured).
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
    # Each service has a priority of its own: two services that hold the same program do not clash.
    ++ builtins.genList (index: entry (1000 + index) (storePath (builtins.elemAt services index))) (builtins.length services);
  preferLocalBuild = true;
  allowSubstitutes = false;
}
