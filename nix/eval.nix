# Evaluates network expressions to data. jobs.nix imports this file; nix/evaluation-input.ts gives Nix the expression
#
#   import …/eval.nix { input = { files; physical; deployment; mode; only; exclude; optionKeys; providerModules; refused; batch; }; args = { … }; }
#
# nix/evaluate.ts reads the JSON of the result. A mistake in a definition is thrown as `hydra-ops:fail:{…}`, or has
# `hydra-ops:at:{…}` in its trace; nix/evaluation-errors.ts turns both into sentences.
{
  input,
  # Function arguments of the network's files.
  args ? { },
}:
let
  inherit (builtins)
    any attrNames concatMap concatStringsSep deepSeq elem filter foldl' functionArgs genericClosure intersectAttrs isAttrs
    isFunction isList isPath isString length listToAttrs map mapAttrs pathExists removeAttrs;

  system = input.system or builtins.currentSystem;
  ours = "<hydra-ops>";

  merge = import ./merge.nix {
    optionSets =
      [ [ ] [ "networking" ] [ "deployment" ] ]
      ++ map (name: [ "deployment" name ]) (input.optionKeys ++ [ "autoUpdate" "cacheKey" "healthChecks" "hydra" "hydraSource" "nix" "preDeployChecks" ])
      ++ map (name: [ "deployment" "hydra" name ]) [ "admin" "cache" "database" "gc" "nginx" "nixServe" "postfix" ]
      ++ [ [ "deployment" "hydra" "admin" "password" ] [ "deployment" "nix" "gc" ] [ "deployment" "autoUpdate" "healthChecks" ] ];
  };
  inherit (merge) described fail plain within;

  # --- the files ---------------------------------------------------------------------------------------------

  reserved = [ "_file" "defaults" "meta" "network" "require" "resources" ];

  # `require` is followed, and each file is loaded once.
  loaded = genericClosure {
    startSet = map (path: { key = fileOf path; }) input.files;
    operator = { key }:
      let required = (load key).value.require or [ ]; in
      map (path: { key = requiredFile key path; }) (if isList required then required else [ required ]);
  };
  files = map ({ key }: load key) loaded;

  fileOf = path:
    let given = builtins.unsafeDiscardStringContext (toString path); in
    if pathExists "${given}/default.nix" then "${given}/default.nix" else given;

  requiredFile = from: path:
    if ! (isPath path || isString path) then fail { files = [ from ]; say = "require: expected paths, got ${described path}"; }
    else if ! pathExists path then fail { files = [ from ]; say = "requires ${toString path}, which does not exist"; }
    else fileOf path;

  load = path:
    let
      expression = import path;
      value = if isFunction expression then expression (argumentsFor path expression) else expression;
    in
    if isAttrs value && isFunction (value.outputs or null) then fail {
      files = [ path ];
      say = "is a flake, which is not supported yet as a network expression";
      hint = "write the network to a separate file, such as hydra.nix; set network.nixpkgs if the network needs nixpkgs";
    }
    else if ! isAttrs value then fail { files = [ path ]; say = "expected a set of machines, or a function that returns one, got ${described value}"; }
    else { file = toString (value._file or path); inherit value; };

  argumentsFor = path: function:
    let
      formals = functionArgs function;
      missing = filter (name: ! formals.${name} && ! args ? ${name}) (attrNames formals);
    in
    if missing == [ ] then intersectAttrs formals args
    else fail {
      files = [ path ];
      say = "the function needs the argument ${concatStringsSep " and " (map (name: "'${name}'") missing)}";
      hint = "use --argstr ${builtins.head missing} TEXT or --arg ${builtins.head missing} NIX; hydra-ops set-args remembers the argument";
    };

  # --- the network -------------------------------------------------------------------------------------------

  networkOf = file: optionsOf "meta" file // optionsOf "network" file;
  optionsOf = name: file:
    let given = file.value.${name} or { }; in
    if isAttrs given then given
    else fail { files = [ file.file ]; say = "${name}: expected a set of options, got ${described given}"; };
  network = foldl' (all: file: all // networkOf file) { } files;

  names = filter (name: ! elem name reserved) (attrNames (foldl' (known: file: known // file.value) { } files));

  # Supported attributes, some of them for other tools or for NixOS machines only. Unsupported attributes that would
  # change a deploy are not in the list.
  known = [
    "buildShell" "description" "enableRollback" "evalConfig" "hydra" "lib" "lock" "name" "nixpkgs" "nodeNixpkgs"
    "nodeSpecialArgs" "ordering" "pkgs" "runCommand" "specialArgs" "storage"
  ];

  networkFacts = {
    name = plain (network.name or null);
    description = plain (network.description or null);
    ordering = plain (network.ordering.tags or [ ]);
    hydra = plain (network.hydra or null);
    inherit layout system;
    namesNixpkgs = networkSource != null;
    unknown = map
      (name: { inherit name; files = map (file: file.file) (filter (file: networkOf file ? ${name}) files); })
      (filter (name: ! elem name known) (attrNames network));
    inherit known;
    resources = concatMap
      (file: map (name: { files = [ file.file ]; say = resourceText name; }) (attrNames (resourcesIn file)))
      files;
  };
  # The tool for which the files were written, as far as their form shows.
  layout = if any (file: file.value ? meta) files then "colmena" else if network ? pkgs then "morph" else "nixops";
  resourcesIn = file: removeAttrs (file.value.resources or { }) [ "machines" ];

  # Resources of NixOps, each with the alternative.
  resourceText = name: "resources.${name}: ${ {
    sshKeyPairs = "hydra-ops makes no key pairs; make one with ssh-keygen, deliver it by deployment.keys.NAME.keyFile, and read its public half with builtins.readFile";
    commandOutput = "hydra-ops runs no command for an expression; use deployment.keys.NAME.keyCommand, or builtins.readFile";
  }.${name} or "hydra-ops makes machines and no other resources" }";
  # A definition that reads a resource of NixOps fails with the alternative to that resource.
  absentResources = foldl'
    (all: file: all // mapAttrs (name: _: fail { files = [ file.file ]; say = resourceText name; }) (resourcesIn file))
    { }
    files;

  # --- nixpkgs, if any ---------------------------------------------------------------------------------------

  # Returns { path; set; fixed; }. `path` is the folder of nixpkgs, `set` the set of packages that was given in its
  # place, or null. `fixed` tells whether the packages of a NixOS machine are exactly that set.
  sourceOf = given:
    if isPath given || isString given then checkedVersion given { path = given; set = null; fixed = false; }
    else if isFunction given then ofSet false (given { })
    # `given` is a flake or the result of a fetcher.
    else if given ? legacyPackages then { path = given.outPath; set = null; fixed = false; packages = given.legacyPackages.${system}; }
    else if given ? outPath && ! given ? lib then sourceOf given.outPath
    else ofSet false given;
  ofSet = fixed: set: { path = set.path or (fail { say = "the given nixpkgs has no path, so hydra-ops cannot find its NixOS modules"; }); inherit set fixed; };

  packagesIn = source: source.packages or (if source.set == null then import source.path { inherit system; } else source.set);

  checkedVersion = nixpkgs: result:
    let
      file = "${toString nixpkgs}/lib/minver.nix";
      wanted = import file;
    in
    if pathExists file && builtins.compareVersions builtins.nixVersion wanted < 0
    then fail { say = "${if network ? nixpkgs || network ? nodeNixpkgs then "network.nixpkgs" else "<nixpkgs>"} needs Nix ${wanted} or newer; this is Nix ${builtins.nixVersion}"; code = "nix-too-old"; }
    else result;

  # The nixpkgs that the network names, or null.
  networkSource =
    if network ? nixpkgs then sourceIn (usable "nixpkgs" network.nixpkgs)
    else if network ? pkgs then sourceIn network.pkgs // { fixed = true; }
    else null;
  sourceIn = value: if value == null then null else sourceOf value;
  namedSource = name:
    if network ? nodeNixpkgs.${name} then sourceIn (usable "nodeNixpkgs.${name}" network.nodeNixpkgs.${name})
    else networkSource;
  pkgsOf = name: let source = namedSource name; in if source == null then null else packagesIn source;

  # NixOS machines also take <nixpkgs>. A folder without the NixOS modules does not count. Nix evaluates <nixpkgs>
  # only for a definition that needs it, because the search path may name a download.
  searched = builtins.tryEval (toString <nixpkgs>);
  searchedSource =
    if searched.success && pathExists "${searched.value}/nixos/lib/eval-config.nix" then sourceOf <nixpkgs> else null;
  nixosSource = name: let source = namedSource name; in if source != null then source else searchedSource;

  # Name of the set in which the files define these attributes, for messages; Colmena's files use `meta`.
  networkName = if any (file: file.value ? meta && ! (file.value ? network)) files then "meta" else "network";
  usable = option: given:
    let
      refuse = say: fail {
        files = map (file: file.file) (filter (file: networkOf file ? ${builtins.head (filter isString (builtins.split "[.]" option))}) files);
        say = "${networkName}.${option}: ${say}";
      };
      text = toString given;
    in
    if isPath given || isString given then
      if builtins.substring 0 1 text != "/" then refuse "expected a path, a function or a set, got \"${text}\""
      else if ! (builtins.hasContext text) && ! pathExists given then refuse "${text} does not exist"
      else given
    else if given == null || isAttrs given || isFunction given then given
    else refuse "expected a path, a function or a set, got ${described given}";

  ownLib = import ./lib.nix;
  libOf = name: pkgs:
    network.lib or (if pkgs != null then pkgs.lib else if searchedLib.success && searchedLib.value != null then searchedLib.value else ownLib);
  # The lib of <nixpkgs>, if this Nix can read it without a download.
  searchedLib = builtins.tryEval (if isDownload || searchedSource == null then null else import "${searched.value}/lib");
  isDownload = any (entry: builtins.match "[a-z]+:.*" entry.path != null) builtins.nixPath;

  # --- the machines ------------------------------------------------------------------------------------------

  definitionsOf = name: concatMap
    (file: if file.value ? ${name} then [ { inherit (file) file; value = file.value.${name}; } ] else [ ])
    files;

  machines = listToAttrs (map (name: { inherit name; value = machine name; }) names);
  nodes = mapAttrs
    (_: each: { config = if each.os == "nixos" && each.nixos != null then each.nixos.config else each.config; } // (
      if each.os == "nixos" && each.nixos != null then { inherit (each.nixos) options pkgs; } else { }
    ))
    machines;

  machine = name:
    let
      pkgs = pkgsOf name;
      shared = {
        inherit name nodes;
        resources = absentResources // { machines = mapAttrs (_: node: node.config) nodes; };
        uuid = input.deployment.uuid;
        deploymentName = input.deployment.name;
      } // (network.specialArgs or { }) // (network.nodeSpecialArgs.${name} or { });
      # NixOS modules may use arguments that a Debian machine does not have.
      ofNixos = argument: value: if nixos != null then value else modules.absent ownFiles argument;
      arguments = {
        inherit config;
        options = ofNixos "options" nixos.options;
        modulesPath = ofNixos "modulesPath" "${toString source.path}/nixos/modules";
        lib = libOf name pkgs;
        pkgs = if pkgs != null then pkgs else fail {
          machine = name;
          files = ownFiles;
          say = "the definition uses pkgs, but this network has no nixpkgs";
          hint = "set the packages, for instance ${networkName}.nixpkgs = import <nixpkgs> { };";
        };
      } // shared;

      own = definitionsOf name;
      ownFiles = map (source: source.file) own;
      modules = import ./modules.nix { inherit merge arguments; machine = name; };
      collected = modules.definitions { inherit own; defaults = definitionsOf "defaults"; };

      tree = within { machine = name; files = ownFiles; } (merge.merge name [ ] (collected.defs ++ given name pkgs));
      config = tree.view // { deployment = tree.view.deployment // { keys = mapAttrs keyView (tree.view.deployment.keys or { }); }; };

      # The definitions are first read as those of a Debian machine, and decide the kind. Definitions that cannot be
      # read may need more of NixOS, so their machine counts as NixOS. Its own evaluation then reports the mistakes.
      wantedOs = tree.children.deployment.children.os.plain;
      attempt = builtins.tryEval wantedOs;
      os = if attempt.success || source == null then wantedOs else "nixos";
      source = nixosSource name;
      nixos = if source == null then null else within { machine = name; files = ownFiles; } (nixosMachines.evaluate {
        inherit name source own;
        defaults = definitionsOf "defaults";
        arguments = shared;
      });
    in
    { inherit name tree config os nixos source; files = ownFiles; inherit (collected) refused; };

  # Facts that are not known yet. A file may use an address before its allocation; that evaluation is never deployed.
  unknown =
    if isCheap then { privateIPv4 = "0.0.0.0"; publicIPv4 = "0.0.0.0"; hostKey = "unknown"; }
    else { privateIPv4 = null; publicIPv4 = null; hostKey = null; };

  # Defaults of a machine that its definitions can override.
  given = name: pkgs:
    let def = priority: value: { file = ours; defaults = false; conditions = [ ]; order = 1000; inherit priority value; }; in
    [
      (def 900 {
        networking = { hostName = name; } // unknown // removeAttrs (input.physical.${name} or { }) [ "disk" "usesBuilders" ];
        deployment = { inherit (input.deployment) name uuid; };
      })
      (def 1500 {
        deployment = { os = "nixos"; targetEnv = "none"; hydra = { package = hydraOf pkgs; nixServe.package = nixServeOf pkgs; }; };
      })
    ];

  # nixpkgs' own Hydra, under the names of different releases. Its programs are in several packages since 2026. These
  # packages are joined into one package, in which the first package's file wins.
  hydraOf = pkgs:
    if pkgs == null then null
    else if pkgs ? hydra-queue-runner && pkgs ? hydra-builder then pkgs.symlinkJoin {
      name = "hydra";
      paths = concatMap (part: if pkgs ? ${part} then [ pkgs.${part} ] else [ ]) [ "hydra-queue-runner" "hydra-builder" "hydra-evaluator" "hydra-ws" "hydra" ];
    }
    else pkgs.hydra or pkgs.hydra_unstable or pkgs.hydra-unstable or null;
  nixServeOf = pkgs: if pkgs == null then null else pkgs.nix-serve-ng or pkgs.nix-serve or null;

  # NixOps' definitions read `config.deployment.keys.<name>.path`.
  keyView = name: key:
    let full = { inherit name; destDir = "/run/keys"; user = "root"; group = "root"; permissions = "0600"; } // key; in
    { path = "${full.destDir}/${full.name}"; } // full;

  # Machines reach each other by name.
  hosts = concatMap
    (name:
      let address = addressOf name; in
      if address == null then [ ] else [ { inherit address; names = [ name ]; } ])
    names;
  addressOf = name:
    # Only a NixOS machine's own nixpkgs can evaluate its definitions.
    if elem name input.exclude || machines.${name}.os == "nixos" then input.physical.${name}.privateIPv4 or null
    else (merge.present machines.${name}.tree.children.networking).privateIPv4.plain or null;

  debian = import ./debian-machine.nix { inherit merge hosts system ours; cheap = isCheap; };
  nixosMachines = import ./nixos-machine.nix {
    inherit args input network merge system;
    # Only allocated addresses: addresses in definitions would require the evaluation of every machine.
    hosts = concatMap
      (name: if input.physical.${name}.privateIPv4 or null == null then [ ] else [ { address = input.physical.${name}.privateIPv4; names = [ name ]; } ])
      names;
  };

  # --- the result (without closures where it is cheap) --------------------------------------------------------

  isCheap = elem input.mode [ "shape" "tasks" ];
  result = name:
    let
      each = machines.${name}; inherit (each) os;
      forTasks = input.mode != "shape" && (input.only == null || elem name input.only);
      wanted = forTasks && ! isCheap;
      data =
        if os == "debian" then debian.describe each wanted
        else if os == "nixos" && each.nixos != null then nixosMachines.describe name each.nixos { inherit forTasks wanted; inherit (each) files; nixpkgs = each.source.path; }
        else { inherit os; inherit (each) files; };
    in
    within { machine = name; inherit (each) files; } (deepSeq data data);

  # NixOS machines take far more memory than others, so one evaluation may leave machines to later evaluations.
  included = filter (name: ! elem name input.exclude) names;
  isNixos = name: let each = machines.${name}; in within { machine = name; inherit (each) files; } (each.os == "nixos");
  batch = input.batch or null;
  ofNixos = filter isNixos included;
  here =
    if batch == null then included
    else if batch ? names then filter (name: elem name batch.names) included
    else filter (name: ! elem name later) included;
  later = if batch ? first then builtins.genList (index: builtins.elemAt ofNixos (batch.first + index)) (max 0 (length ofNixos - batch.first)) else [ ];
  max = left: right: if left < right then right else left;

  # The derivation of a machine, without other data. Each derivation is a job of a Hydra (see jobs.nix).
  derivationOf = name:
    let each = machines.${name}; inherit (each) os files; in
    within { machine = name; inherit files; } (
      if os == "debian" then debian.systemOf each
      else if os == "nixos" && each.nixos != null then nixosMachines.systemOf name { evaluated = each.nixos; inherit files; }
      else fail {
        machine = name;
        inherit files;
        say = "deployment.os = \"${toString os}\" needs nixpkgs, and this network has none";
        hint = "give the jobset an input with the name nixpkgs";
      }
    );

  # Shows only one option of a machine, or only its facts if `physical` is true.
  shown = { path, physical, ... }: name:
    let each = machines.${name}; lib = network.lib or (import (each.source.path + "/lib")); in
    within { machine = name; inherit (each) files; } (
      if each.os != "nixos" || each.nixos == null then { kind = "other"; inherit (each) os; }
      else if physical then { kind = "facts"; facts = nixosMachines.facts name each.nixos lib; }
      else import ./show-option.nix {
        inherit merge;
        inherit (nixosMachines) located;
        # An option with this priority number or a greater number has only its default.
        optionDefault = (lib.mkOptionDefault null).priority;
      } each.nixos path
    );
  wantedOption = input.option or null;

  # The `nixos` images of some machines. Machines with the same nixpkgs and disk share an image.
  wantedImages = input.images or null;
  imageKey = name:
    let each = machines.${name}; inherit (each.nixos) pkgs; in {
      inherit (each) source;
      system = pkgs.stdenv.hostPlatform.system or pkgs.stdenv.system;
      disk = nixosMachines.diskOf name;
      from = if network ? nodeNixpkgs.${name} then name else "";
    };
  keyText = { system, disk, from, ... }: builtins.toJSON [ from system disk ];
  images = listToAttrs (map
    (name: let key = imageKey name; in { name = keyText key; value = imageParts key; })
    wantedImages);
  imageParts = key:
    let image = nixosMachines.image { inherit (key) source system disk; }; in
    import ./nixos-image.nix { inherit (image) pkgs; inherit (image.config.system.build) toplevel; };
  imageOf = name:
    let each = machines.${name}; key = imageKey name; parts = images.${keyText key}; in
    within { machine = name; inherit (each) files; } (
      if each.os != "nixos" || each.nixos == null then null
      else {
        inherit (key) system;
        parts =
          if ! elem key.system [ "x86_64-linux" "i686-linux" ] then null
          else { derivation = builtins.unsafeDiscardStringContext parts.drvPath; output = builtins.unsafeDiscardStringContext parts.outPath; };
      }
    );
in
if input.jobs or false then listToAttrs (map (name: { inherit name; value = derivationOf name; }) names)
else if wantedImages != null then { images = listToAttrs (map (name: { inherit name; value = imageOf name; }) wantedImages); }
else if wantedOption != null then {
  inherit names;
  shown = listToAttrs (map
    (name: { inherit name; value = shown wantedOption name; })
    (filter (name: wantedOption.machine == null || wantedOption.machine == name) names));
}
else {
  network = networkFacts;
  inherit later names;
  machines = listToAttrs (map (name: { inherit name; value = result name; }) here);
}
