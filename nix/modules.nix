# Turns a machine's definitions (attribute sets, functions, paths, lists of these, with `imports`) into merge.nix's list
# of definitions.
{ merge, arguments, machine }:
let
  inherit (builtins)
    attrNames concatStringsSep elem filter foldl' functionArgs isAttrs isFunction isList isPath isString mapAttrs
    pathExists removeAttrs;
  inherit (merge) described fail;

  # Attributes of a module in the long form besides `config`; `options` is refused below.
  longForm = [ "_class" "_file" "config" "disabledModules" "freeformType" "imports" "key" "meta" "options" "require" ];

  isCallable = module: isFunction module || (isAttrs module && module ? __functor);
  formals = module: if isFunction module then functionArgs module else functionArgs (module.__functor module);

  # Missing arguments fail only when they are used: a module may declare more arguments than it needs.
  call = file: module:
    let
      missing = removeAttrs (formals module) (attrNames arguments);
      required = filter (name: ! missing.${name}) (attrNames missing);
    in
    module (arguments // builtins.listToAttrs (map (name: { inherit name; value = absent [ file ] name; }) required));

  ofNixosAlone = [ "modulesPath" "options" ];
  absent = files: name: fail {
    inherit machine files;
    say = "the argument '${name}' of a definition does not exist here";
    hint = "the arguments are ${concatStringsSep ", " (attrNames (removeAttrs arguments ofNixosAlone))}; network.specialArgs adds more";
  };

  # Adds a module's definitions to `state`, a set { seen; defs; refused; }. Each file counts once; a second import
  # would otherwise double its lists.
  visit = place: state: module:
    if isList module then foldl' (visit place) state module
    else if isPath module || isString module then visitFile place state module
    else if isCallable module then visit place state (call place.file module)
    else if ! isAttrs module then wrong place "expected a set, a function, a path or a list of these, got ${described module}"
    else if (module.type or null) == "derivation" then wrong place "expected a definition, got a derivation"
    else visitWrapped place state module (module._type or null);

  visitFile = place: state: path:
    let
      given = builtins.unsafeDiscardStringContext (toString path);
      file = if pathExists "${given}/default.nix" then "${given}/default.nix" else given;
      # An import under a condition does not replace an unconditional import.
      once = place.conditions == [ ];
    in
    if once && state.seen ? ${file} then state
    else if ! pathExists path then wrong place "imports ${given}, which does not exist"
    else visit (place // { inherit file; }) (if once then state // { seen = state.seen // { ${file} = true; }; } else state) (import path);

  visitWrapped = place: state: module: type:
    if type == "merge" then foldl' (visit place) state module.contents
    else if type == "if" then visit (place // { conditions = place.conditions ++ [ module.condition ]; }) state module.content
    else if type == "override" then visit (place // { inherit (module) priority; }) state module.content
    else if type == "order" then visit place state module.content
    else visitSet place state module;

  visitSet = place: state: module:
    let
      long = module ? config || module ? options;
      file = toString (module._file or place.file);
      here = place // { inherit file; };
      strangers = filter (name: ! elem name longForm) (attrNames module);
      imports = listOf "imports" ++ listOf "require";
      listOf = name:
        let given = module.${name} or [ ]; in
        if isList given then given
        else if name == "require" then [ given ]
        else wrong here "${name}: expected a list, got ${described given}";
      imported = foldl' (visit here) state imports;
    in
    if long && strangers != [ ] then
      wrong here "'${builtins.head strangers}' stands beside 'config' or 'options'; move it into 'config'"
    else imported // {
      refused = imported.refused ++ (if (module.options or { }) != { } then [ file ] else [ ]);
      defs = imported.defs ++ [
        (here // {
          order = 1000;
          value =
            if long then module.config or { }
            else removeAttrs module [ "_class" "_file" "disabledModules" "imports" "key" "require" ];
        })
      ];
    };

  wrong = place: say: fail { inherit machine say; files = [ place.file ]; };

  start = { seen = { }; defs = [ ]; refused = [ ]; };
  placed = defaults: file: { inherit file defaults; conditions = [ ]; priority = 100; };
  collect = defaults: foldl' (state: source: visit (placed defaults source.file) state source.value);
in
{
  inherit absent;

  # Collects the definitions from lists of sources { file; value; }. The machine's own import of a file wins over an import of the file by `defaults`.
  definitions = { own, defaults }:
    let
      mine = collect false start own;
      shared = collect true (mine // { defs = [ ]; }) defaults;
    in
    { defs = shared.defs ++ mine.defs; inherit (shared) refused; };
}
