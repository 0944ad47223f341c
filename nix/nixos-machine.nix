# Evaluates a NixOS machine with the nixos/lib/eval-config.nix of its nixpkgs, and describes it as data.
{
  input,
  # The network's own options: network.evalConfig, network.lib.
  network,
  merge,
  # Entries for /etc/hosts: [ { address; names; } ].
  hosts,
  system,
  # Function arguments of the network.
  args,
}:
let
  inherit (builtins)
    attrNames concatMap concatStringsSep deepSeq elem filter foldl' genList head isAttrs isList isString length map
    mapAttrs match removeAttrs stringLength substring tail tryEval unsafeDiscardStringContext;
  inherit (merge) fail plain within;

  override = priority: content: { _type = "override"; inherit priority content; };
  weak = override 1000;
  startsWith = prefix: text: substring 0 (stringLength prefix) text == prefix;

  # --- evaluation --------------------------------------------------------------------------------------------

  # `source` is { path; set; }: the folder of nixpkgs, and the set that the network gave in its place, or null.
  evaluate = { name, source, own, defaults, arguments }:
    evalConfigOf source ({
      system = if source.set == null then system else source.set.stdenv.hostPlatform.system or source.set.system or system;
      modules =
        map ofUser (defaults ++ own)
        ++ [ ./nixos-module.nix ]
        ++ input.providerModules
        ++ [ (identity name) (physical name) (packagesOf source) ];
      specialArgs = arguments;
    } // ownLib);
  evalConfigOf = source:
    if ! (network ? evalConfig) then import (source.path + "/nixos/lib/eval-config.nix")
    else if builtins.isFunction network.evalConfig then network.evalConfig
    else import network.evalConfig;
  ownLib = if network ? lib then { inherit (network) lib; } else { };

  # A machine may be a list of modules, but nixpkgs does not accept a list as a module.
  ofUser = { file, value }: { _file = file; imports = flatten value; };
  flatten = value: if isList value then concatMap flatten value else [ value ];

  identity = name: { config, lib, ... }: {
    _file = "<hydra-ops: names>";
    config = {
      deployment = {
        inherit (input.deployment) name uuid;
        machine = name;
        inherit (factsOf name) usesBuilders;
        arguments = args;
        networkHydra = if isAttrs (network.hydra or null) then network.hydra else { };
        # The kind is decided before the modules are evaluated.
        os = override 10 "nixos";
        targetHost = weakest lib config.networking.hostName;
      };
      # Releases since 20.09 refuse dots in a host name.
      networking.hostName = override 900 (head (builtins.split "[.]" name));
    };
  };

  # The priority just before an option's default: old releases leave no room between this priority and mkDefault.
  weakest = lib: override ((lib.mkOptionDefault null).priority - 1);

  # The system of the `nixos` image for machines with this nixpkgs and this disk.
  image = { source, system, disk }:
    evalConfigOf source ({
      inherit system;
      modules = [ ./modules/image.nix (disks disk) (packagesOf source) ];
    } // ownLib);

  # Facts of the provider, which every definition of the user overrides. A mkDefault in a module of a newer NixOS also
  # overrides the facts of the disk.
  physical = name: { lib, ... }: {
    _file = "<hydra-ops: facts of the provider>";
    imports = let disk = (factsOf name).disk; in if disk == null then [ ] else [ (disks disk) ];
    config.networking = mapAttrs (_: weak) (factsOf name).networking // {
      extraHosts = concatStringsSep "" (map (host: "${host.address} ${concatStringsSep " " host.names}\n") hosts);
    };
  };
  disks = disk: { config, lib, ... }: {
    _file = "<hydra-ops: facts of the provider>";
    config = {
      boot.loader.grub.device = weakest lib disk.boot;
      # The drivers are added to the drivers of other definitions. The machine would otherwise not find its root file
      # system.
      boot.initrd.availableKernelModules = disk.drivers or [ ];
      # NixOS uses a label only if no device is set.
      fileSystems."/" = {
        device = lib.mkIf (config.fileSystems."/".label == null) (weakest lib disk.root);
        fsType = weakest lib disk.rootType;
      };
      # The machine would otherwise be unreachable after its first deploy.
      services.openssh.enable = weakest lib true;
    };
  };
  factsOf = name:
    let given = input.physical.${name} or { }; in
    {
      networking = removeAttrs given [ "disk" "usesBuilders" ];
      disk = given.disk or null;
      usesBuilders = given.usesBuilders or false;
    };
  diskOf = name: (factsOf name).disk;

  # The provider's facts as data; `counts` tells whether the machine's configuration uses the fact.
  facts = name: evaluated: lib:
    let
      weakestOf = (weakest lib null).priority;
      inherit (factsOf name) networking disk;
      fact = priority: path: value: {
        option = path;
        inherit priority value;
        counts = plain (getIn path evaluated.config) == value;
      };
    in
    map (key: fact 1000 [ "networking" key ] networking.${key}) (attrNames networking)
    ++ (if disk == null then [ ] else [
      (fact weakestOf [ "boot" "loader" "grub" "device" ] disk.boot)
      (fact weakestOf [ "fileSystems" "/" "device" ] disk.root)
      (fact weakestOf [ "fileSystems" "/" "fsType" ] disk.rootType)
      (fact weakestOf [ "services" "openssh" "enable" ] true)
    ] ++ (if ! (disk ? drivers) then [ ] else [
      { option = [ "boot" "initrd" "availableKernelModules" ]; value = disk.drivers; priority = 100; counts = true; }
    ]));

  # A package set that is given as nixpkgs passes on its configuration and overlays; network.pkgs is used unchanged.
  packagesOf = source: { lib, options, ... }: {
    _file = "<hydra-ops: packages of the network>";
    config =
      if source.set == null then { }
      else if source.fixed then (if options.nixpkgs ? pkgs then { nixpkgs.pkgs = weak source.set; } else { })
      else {
        nixpkgs =
          (if options.nixpkgs ? config && (source.set.config or { }) != { } then { config = handedOn lib source.set.config; } else { })
          // (if options.nixpkgs ? overlays && (source.set.overlays or [ ]) != [ ]
            then { overlays = first source.set.overlays; } else { });
      };
  };
  first = content: { _type = "order"; priority = 500; inherit content; };
  # Releases before 22.11 cannot merge the configuration of a set with the machine's own.
  handedOn = lib: if builtins.compareVersions (lib.version or lib.nixpkgsVersion) "22.11" >= 0 then first else override 1500;

  # --- data --------------------------------------------------------------------------------------------------

  ownFolder = toString ./.;
  isOurs = file: startsWith "<hydra-ops" file || startsWith "${ownFolder}/" file || elem file input.providerModules;

  isOption = value: isAttrs value && (value._type or null) == "option";
  optionsIn = path: set: concatMap
    (name:
      let inner = set.${name}; at = path ++ [ name ]; in
      if isOption inner then [ { path = at; option = inner; } ]
      else if isAttrs inner then optionsIn at inner else [ ])
    (attrNames set);

  # Definitions of an option with their files; old releases have two separate lists.
  located = option: option.definitionsWithLocations or
    (genList (index: { file = builtins.elemAt option.files index; value = builtins.elemAt option.definitions index; }) (length option.definitions));

  init = list: genList (builtins.elemAt list) (length list - 1);
  getIn = path: set: foldl' (inner: part: inner.${part}) set path;
  unique = foldl' (seen: each: if elem each seen then seen else seen ++ [ each ]) [ ];
  describe = name: evaluated: { forTasks, wanted, files, nixpkgs }:
    let
      all = optionsIn [ "deployment" ] evaluated.options.deployment;
      described = map
        (each: each // { files = filter (file: ! isOurs file) (unique (map (def: toString def.file) (located each.option))); })
        (filter (each: ! elem (head (tail each.path)) [ "arguments" "machine" "name" "networkHydra" "os" "usesBuilders" "uuid" ]) all);
      theirs = filter (each: each.files != [ ]) described;
      isRefused = each: elem (head (tail each.path)) input.refused;
      # nixpkgs before 20.09 refuses an undeclared option only when the set around the option is read.
      parents = unique (map (each: init each.path) all);
      declaredOnly = value: foldl' (result: path: builtins.seq (getIn path evaluated.config) result) value parents;
      # An evaluation of `config` always refuses other undeclared options.
      assertions = if wanted then failed evaluated else [ ];
      warnings = if wanted then warningsOf evaluated else [ ];
      toplevel = evaluated.config.system.build.toplevel;
      ofHydra = import ./modules/hydra-facts.nix evaluated.config;
    in
    {
      os = "nixos";
      inherit files warnings assertions;
      deployment = declaredOnly (foldl' (set: each: put each.path (valueOf name each) set) { } (filter (each: ! isRefused each) theirs));
      origins = map (each: { inherit (each) path files; }) theirs;
      refused = map (each: { option = each.path; inherit (each) files; }) (filter isRefused theirs);
      traps = if wanted && assertions == [ ] then import ./modules/traps.nix {
        inherit (evaluated) config options;
        inherit located;
        isUsers = file: ! isOurs file && ! startsWith "${toString nixpkgs}/" file && ! startsWith "<" file;
      } else [ ];
      hydra = if forTasks && assertions == [ ] && evaluated.config.deployment.hydra.enable then ofHydra else null;
      closure =
        if ! wanted || assertions != [ ] then null
        else { derivation = unsafeDiscardStringContext toplevel.drvPath; output = unsafeDiscardStringContext toplevel.outPath; };
    };

  # The derivation of the machine's system.
  systemOf = name: { evaluated, files }:
    let wrong = failed evaluated; in
    if wrong == [ ] then evaluated.config.system.build.toplevel
    else fail { machine = name; inherit files; say = concatStringsSep "; " (map (each: each.text) wrong); };

  # Adds a value at a path below `deployment`; the result does not contain that name.
  put = path: value: set: (deep (tail path) value set);
  deep = path: value: set:
    let name = head path; in
    set // { ${name} = if tail path == [ ] then value else deep (tail path) value (set.${name} or { }); };

  # A wrong value is passed on as it was written, so that one error lists every mistake. The module system reports
  # contradictions, and wrong values from several definitions.
  valueOf = name: each:
    let
      value = withoutInternals (plain each.option.value);
      attempt = tryEval (deepSeq value value);
      defs = located each.option;
      raw = (head defs).value;
      isSimple = ! isAttrs raw && (! isList raw || builtins.all (element: ! isAttrs element) raw);
    in
    within { machine = name; option = each.path; inherit (each) files; } (
      if attempt.success then attempt.value
      else if length defs == 1 && isSimple then plain raw
      else value
    );

  # Old releases leave the module system's own option `_module` in each set of options.
  withoutInternals = value:
    if isList value then map withoutInternals value
    else if isAttrs value then mapAttrs (_: withoutInternals) (removeAttrs value [ "_module" ])
    else value;

  unwrapped = value: if ! isAttrs value || (value._type or null) != "if" then [ value ] else if value.condition then unwrapped value.content else [ ];
  listOf = option: concatMap (def: map (value: { inherit value; file = toString def.file; }) (concatMap unwrapped def.value)) (located option);

  warningsOf = evaluated: map (each: { inherit (each) file; text = unsafeDiscardStringContext each.value; }) (listOf evaluated.options.warnings);
  failed = evaluated: map
    (each: { inherit (each) file; text = unsafeDiscardStringContext each.value.message; })
    (filter (each: ! each.value.assertion) (listOf evaluated.options.assertions));
in
{ inherit evaluate describe systemOf diskOf facts image located; }
