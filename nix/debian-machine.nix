# Describes a Debian machine as data: its options, their problems, and its closure. `systemOf` returns the closure's
# derivation itself.
{
  merge,
  # Entries that every machine writes to /etc/hosts: [ { address; names; } ].
  hosts,
  system,
  # Name that stands for the file of definitions by hydra-ops itself.
  ours,
  # Whether to avoid the evaluation of expensive values (such as texts that name packages).
  cheap,
}:
let
  inherit (builtins)
    all any attrNames concatMap concatStringsSep elem filter hasContext hashFile hashString head isBool isInt isList isPath isString length map mapAttrs removeAttrs
    toJSON unsafeDiscardStringContext;
  inherit (merge) described isDerivation isSet present sources withoutConflicts;

  checks = import ./debian-checks.nix;

  # Options that go into the closure, and are not returned as data.
  closureOptions = [ "activate" "files" "packages" "units" ];

  examine = machine:
    let
      options = present machine.tree.children.deployment;
      isOurs = name: all (origin: origin.files == [ ours ]) options.${name}.origins;
      theirs = removeAttrs options (filter isOurs (attrNames options));
      contradictions = map ({ option, files, say, hint, ... }: { inherit option files say hint; }) (merge.conflicts machine.tree);
      problems = contradictions ++ problemsOf theirs;
    in
    {
      inherit theirs problems;
      sound = problems == [ ] && machine.refused == [ ] && isListOf isString (theirs.aptPackages.view or [ ]);
    };

  # A definition with a problem has no closure. An evaluation for a deploy reports all problems, with places and
  # hints.
  systemOf = machine:
    let
      inherit (examine machine) theirs problems sound;
      first = head problems;
      place = if problems == [ ] then "" else ", first in ${concatStringsSep "." first.option}";
    in
    if sound then profileOf machine.name theirs
    else merge.fail {
      machine = machine.name;
      inherit (machine) files;
      say = "the definition has mistakes${place}";
      hint = "hydra-ops plan tells them";
    };

  describe = machine: closureWanted:
    let inherit (examine machine) theirs problems sound; in
    {
      os = "debian";
      deployment = mapAttrs (_: node: node.plain) (withoutConflicts (removeAttrs theirs closureOptions));
      origins = filter (origin: origin.files != [ ours ]) (concatMap (name: theirs.${name}.origins) (attrNames theirs));
      foreign = foreign machine.tree;
      inherit (machine) files refused;
      placed = { files = namesIn "files" theirs; units = namesIn "units" theirs; };
      inherit problems;
      closure = if closureWanted && sound then closure machine.name theirs else null;
    };

  namesIn = table: options:
    if options ? ${table} && ! options.${table} ? conflict && isSet options.${table}.view then attrNames (present options.${table}) else [ ];

  # --- the closure -------------------------------------------------------------------------------------------

  viewIn = options: option: default: if options ? ${option} then options.${option}.view else default;

  profileOf = name: options:
    let
      view = viewIn options;
      # A check may run a program that no file, unit or package names.
      ofUpdate = (view "autoUpdate" { }).healthChecks or null;
      checkSets = map (checks: view checks { }) [ "healthChecks" "preDeployChecks" ] ++ (if isSet ofUpdate then [ ofUpdate ] else [ ]);
      commands = concatMap (check: check.cmd or [ ]) (concatMap (checks: checks.cmd or [ ]) checkSets);
      keep = filter (word: isString word && hasContext word) commands;
    in
    import ./debian-profile.nix {
      inherit name system hosts keep;
      packages = view "packages" [ ];
      files = view "files" { };
      units = view "units" { };
      activate = view "activate" null;
      aptPackages = view "aptPackages" [ ];
      services = hydraPackages options;
    };

  closure = name: options:
    let
      view = viewIn options;
      profile = profileOf name options;
    in
    {
      # toJSON evaluates attributes in the order of their names, so the profile's refusals appear before a file is
      # hashed. (An attribute called outPath would replace the JSON of the whole set.)
      derivation = unsafeDiscardStringContext profile.drvPath;
      files = mapAttrs (_: managedFile) (view "files" { });
      hasActivate = view "activate" null != null;
      output = unsafeDiscardStringContext profile.outPath;
      packageCount = length (view "packages" [ ]);
      units = mapAttrs (_: managedUnit) (view "units" { });
    };

  # Packages for which the set-up tasks write units. The machine gets the packages with its closure, whose profile
  # protects them from garbage collection.
  hydraPackages = options:
    let
      hydra = inner options "hydra";
      serve = inner hydra "nixServe";
      on = set: set ? enable && set.enable.view == true;
      given = set: if set ? package && set.package.view != null then [ set.package.view ] else [ ];
    in
    if ! on hydra then [ ] else given hydra ++ (if on serve then given serve else [ ]);
  inner = options: name: if options ? ${name} then present options.${name} else { };

  managedFile = file: {
    hash =
      if file.text or null != null then hashString "sha256" file.text
      else if isPath file.source then hashFile "sha256" file.source
      else hashString "sha256" "${file.source}";
    mode = file.mode or "0644";
    user = file.user or "root";
    group = file.group or "root";
  };

  managedUnit = unit: {
    hash = hashString "sha256" (
      unit.text + (if unit.restartTriggers or [ ] == [ ] then "" else hashString "sha256" (toJSON unit.restartTriggers))
    );
    enable = unit.enable or true;
  };

  # --- options of NixOS, which a Debian machine does not have ------------------------------------------------

  foreign = tree: concatMap (name: foreignIn name tree.children.${name}) (attrNames tree.children);

  # A set without definitions (for example, with false conditions only) requests nothing.
  asks = node: ! node ? children || any (name: asks node.children.${name}) (attrNames (present node));

  foreignIn = name: node:
    let
      inner = removeAttrs (present node) (if name == "networking" then [ "hostKey" "hostName" "privateIPv4" "publicIPv4" ] else [ ]);
      report = at: option: { option = at; files = sources option; };
    in
    if name == "deployment" || ! node.defined then [ ]
    else if ! node ? children then [ (report [ name ] node) ]
    else map (option: report [ name option ] inner.${option}) (filter (option: asks inner.${option}) (attrNames inner));

  # --- types of the options that become the closure ---------------------------------------------------------

  isListOf = holds: value: isList value && all holds value;
  isStorePath = value: isString value || isDerivation value;

  text = { expected = "a string"; holds = isString; };
  textOrNull = text // { holds = value: value == null || isString value; };
  source = {
    expected = "a path, a derivation or a store path";
    holds = value: value == null || isPath value || isStorePath value;
  };
  bool = { expected = "true or false"; holds = isBool; };
  list = { expected = "a list"; holds = isList; };
  set = { expected = "a set"; holds = isSet; };
  packages = { expected = "a list of derivations or store paths"; holds = isListOf isStorePath; };
  program = {
    expected = "a derivation or a store path";
    holds = value: value == null || isStorePath value;
  };

  service = {
    expected = "a derivation or a store path";
    holds = value: value == null || isDerivation value || (isString value && builtins.match "/nix/store/[^/]+" value != null);
  };

  fileTypes = { text = textOrNull; inherit source; mode = text; user = text; group = text; };
  unitTypes = { inherit text; enable = bool; restartTriggers = list; };

  problemsOf = options:
    tableProblems "files" fileTypes fileChecks options
    ++ tableProblems "units" unitTypes unitChecks options
    ++ (if cheap then [ ] else optionProblems packages "packages" options ++ optionProblems program "activate" options ++ hydraProblems options);

  hydraProblems = options:
    let
      at = path: set: if set ? package then typeProblem service (path ++ [ "package" ]) set.package else [ ];
      hydra = inner options "hydra";
    in
    at [ "deployment" "hydra" ] hydra ++ at [ "deployment" "hydra" "nixServe" ] (inner hydra "nixServe");

  costly = if cheap then [ "restartTriggers" "source" "text" ] else [ ];

  optionProblems = type: name: options:
    if ! options ? ${name} then [ ] else typeProblem type [ "deployment" name ] options.${name};

  # Leaves out "is not given" for a text or source with a wrong type or a mistyped name.
  fileChecks = path: wrong: file:
    let mode = if elem "mode" wrong then { } else { mode = file.mode or "0644"; }; in
    checks.fileProblems (! cheap && all (name: elem name [ "group" "mode" "user" ]) wrong) path (
      (if cheap then { } else removeAttrs file [ "mode" ]) // mode
    );
  unitChecks = name: wrong: unit:
    filter (problem: wrong == [ ] || problem.option != [ "text" ]) (checks.unitProblems name unit);

  tableProblems = name: types: checksOf: options:
    let table = options.${name}; option = [ "deployment" name ]; in
    if ! options ? ${name} || table ? conflict then [ ]
    else if ! isSet table.view then typeProblem set option table
    else concatMap (entry: entryProblems types (checksOf entry) (option ++ [ entry ]) table.children.${entry}) (attrNames (present table));

  entryProblems = types: checksOf: option: node:
    let
      wrong = concatMap check (attrNames (present node));
      names = map (problem: builtins.elemAt problem.option (length option)) wrong;
      more = map
        (problem: { option = option ++ problem.option; files = sources node; inherit (problem) say; })
        (checksOf (names ++ filter (name: node.children.${name} ? conflict) (attrNames (present node))) (mapAttrs (_: child: child.view) (withoutConflicts (present node))));
      check = name:
        let given = node.children.${name}; at = option ++ [ name ]; in
        if ! types ? ${name} then [ { option = at; files = sources given; known = attrNames types; } ]
        else if elem name costly then [ ]
        else typeProblem types.${name} at given;
    in
    if node ? conflict then [ ]
    else if ! isSet node.view then typeProblem set option node else wrong ++ more;

  typeProblem = type: option: node:
    if node ? conflict || type.holds node.view then [ ]
    else [ { inherit option; files = sources node; inherit (type) expected; got = shown node.view; } ];

  shown = value: if isString value || isInt value || isBool value then toJSON value else described value;
in
{ inherit describe systemOf; }
