# Merges the definitions of one machine, option by option, as nixpkgs' module system does, but without declared types.
#
# A definition is { file; defaults; value; conditions; priority; order; }: `defaults` is true for a
# definition of the network's `defaults`, false for the machine's own. The result is a tree whose nodes have
#   defined   whether any definition applies
#   view      the value as other definitions see it (`config`)
#   plain     the value as data: paths and derivations as strings, no string context
#   origins   [ { path; files; } ], one for every leaf
#   children  the options of a set, by name
#   conflict  the contradiction between an option's definitions, in the form for `fail`; the option's view throws it
{
  # Paths of the sets of options, such as `deployment.nix`. The wrappers `mkIf` and `mkForce` move down to the options
  # of such a set. A decision about the whole set would need the very `config` that is being computed. Every other
  # path is an option. Its conditions are decided first, so the content under a false condition is never evaluated.
  optionSets,
}:
let
  inherit (builtins)
    addErrorContext all any attrNames concatMap elem elemAt filter foldl' genList head isAttrs isFunction isList isPath
    isString length listToAttrs mapAttrs removeAttrs sort toJSON typeOf unsafeDiscardStringContext zipAttrsWith;

  fail = fields: throw "hydra-ops:fail:${toJSON fields}";

  # Marks the current place in the trace of an error. The text is computed only when an error occurs.
  within = place: addErrorContext "hydra-ops:at:${toJSON place}";

  typeName = value: if isAttrs value then value._type or null else null;
  isDerivation = value: isAttrs value && (value.type or null) == "derivation";
  isSet = value: isAttrs value && ! isDerivation value;
  unique = foldl' (seen: file: if elem file seen then seen else seen ++ [ file ]) [ ];
  filesOf = defs: unique (map (def: def.file) defs);
  active = def: all (condition: condition) def.conditions;

  # Removes the wrappers. Conditions stay on the definition (`discharge = false`) or are decided before their content
  # is evaluated (`discharge = true`).
  unwrap = discharge: def:
    let value = def.value; type = typeName value; in
    if discharge && ! active def then [ ]
    else if type == "if" then
      unwrap discharge (def // { value = value.content; conditions = def.conditions ++ [ value.condition ]; })
    else if type == "merge" then concatMap (content: unwrap discharge (def // { value = content; })) value.contents
    else if type == "override" then unwrap discharge (def // { value = value.content; inherit (value) priority; })
    else if type == "order" then unwrap discharge (def // { value = value.content; order = value.priority; })
    else [ def ];

  # Returns the strength of a definition; the smaller number wins. The machine's own definition beats the network's
  # `defaults` at equal priority.
  strength = def: def.priority * 2 + (if def.defaults then 1 else 0);
  strongest = defs:
    let best = foldl' (least: def: if strength def < least then strength def else least) (strength (head defs)) defs;
    in filter (def: strength def == best) defs;

  ordinaryPriority = 100;

  merge = machine: path: defs: within { inherit machine; option = path; files = filesOf defs; } (
    if elem path optionSets then mergeOptionSet machine path (concatMap (unwrap false) defs)
    else mergeOption machine path (concatMap (unwrap true) defs)
  );

  childrenOf = machine: path: defs:
    zipAttrsWith (name: merge machine (path ++ [ name ])) (map (def: mapAttrs (_: value: def // { inherit value; }) def.value) defs);

  mergeOptionSet = machine: path: defs:
    let
      sets = filter (def: isSet def.value) defs;
      wrong = filter (def: ! isSet def.value && active def) defs;
      children = childrenOf machine path sets;
    in
    if wrong != [ ] then fail {
      inherit machine;
      option = path;
      files = filesOf wrong;
      say = "expected a set of options, got ${described (head wrong).value}";
    }
    else setNode path sets children // {
      defined = any active sets;
      # Conditions do not filter names here: see optionSets.
      view = mapAttrs (_: child: child.view) children;
    };

  setNode = path: defs: children:
    let there = present { inherit children; }; in
    {
      defined = true;
      inherit children;
      view = mapAttrs (_: child: child.view) there;
      plain = mapAttrs (_: child: child.plain) (withoutConflicts there);
      origins =
        if there == { } then [ { inherit path; files = filesOf defs; } ]
        else concatMap (name: there.${name}.origins) (attrNames there);
    };

  mergeOption = machine: path: defs:
    let
      best = strongest defs;
      first = head best;
      place = { inherit machine; option = path; files = filesOf defs; };
      same = def: typeOf def.value == typeOf first.value && (isSet def.value == isSet first.value);
    in
    if defs == [ ] then undefined machine path
    # A lone definition, the usual case, needs no comparison.
    else if isList first.value && all same best then listNode place (sameList first defs)
    else if isSet first.value && all same best then
      let merged = mergedSets first defs; in setNode path merged (childrenOf machine path merged)
    else if all (def: same def && (length best == 1 || def.value == first.value)) best then leaf place first
    else conflictNode {
      inherit machine;
      option = path;
      files = filesOf best;
      say =
        if all same best then "the definitions have different values of equal priority"
        else "the definitions differ: ${described first.value} and ${described (head (filter (def: ! same def) best)).value}";
      hint = "keep one definition, or set the priorities with lib.mkForce or lib.mkDefault";
    };

  # Conflicts appear with all other problems of the machine, unless a definition reads the option.
  conflictNode = fields: {
    defined = true;
    conflict = fields;
    view = fail fields;
    plain = fail fields;
    origins = [ { path = fields.option; inherit (fields) files; } ];
  };
  withoutConflicts = children: removeAttrs children (filter (name: children.${name} ? conflict) (attrNames children));

  # Lists the conflicts in a node and below it.
  conflicts = node:
    if node ? conflict then [ node.conflict ]
    else if node ? children then let there = present node; in concatMap (name: conflicts there.${name}) (attrNames there)
    else [ ];

  # Joins lists of equal priority, the network's `defaults` first.
  sameList = first: defs:
    let joined = filter (def: isList def.value && def.priority == first.priority) defs; in
    sort (a: b: a.order < b.order) joined;

  # Selects the sets to merge. A `mkForce` of a whole set excludes weaker sets, as in nixpkgs' `attrsOf`. Any
  # other priority passes on to the content of its set.
  mergedSets = first: defs:
    if first.priority < ordinaryPriority then filter (def: strength def == strength first) defs
    else filter (def: isSet def.value) defs;

  undefined = machine: path: {
    defined = false;
    view = fail { inherit machine; option = path; files = [ ]; say = "the option is used but not defined"; };
    plain = null;
    origins = [ ];
  };

  leaf = place: def: {
    defined = true;
    view = def.value;
    plain = plain def.value;
    origins = [ { path = place.option; files = [ def.file ]; } ];
  };

  listNode = place: defs:
    let
      raw = concatMap (def: map (value: def // { inherit value; }) def.value) defs;
      # An element that is a set can have wrappers, and can contain wrapped values.
      elements = if any (element: isSet element.value) raw then concatMap (unwrap true) raw else raw;
      node = index:
        let element = elemAt elements index; at = place // { option = place.option ++ [ index ]; }; in
        within at (if isSet element.value then merge place.machine at.option [ element ] else leaf at element);
      nodes = genList node (length elements);
    in
    {
      defined = true;
      view = map (each: each.view) nodes;
      plain = map (each: each.plain) nodes;
      origins = [ { path = place.option; files = filesOf defs; } ];
    };

  # Converts a value to data for JSON. An interpolated path, or a path left to `--json`, would otherwise be copied
  # into the world-readable store.
  plain = value:
    if isPath value then toString value
    else if isString value then unsafeDiscardStringContext value
    else if isDerivation value then unsafeDiscardStringContext value.outPath
    else if isFunction value then { "<function>" = true; }
    else if isList value then map plain value
    else if isAttrs value then mapAttrs (_: plain) value
    else value;

  described = value:
    if isDerivation value then "a derivation"
    else if isSet value then "a set"
    else if isFunction value then "a function"
    else if value == null then "null"
    else { int = "an integer"; float = "a number"; bool = "true or false"; string = "a string"; path = "a path"; list = "a list"; }.${typeOf value};

  # Returns the defined children of a node.
  present = node:
    if node ? children
    then removeAttrs node.children (filter (name: ! node.children.${name}.defined) (attrNames node.children))
    else { };

  # Lists the files that define any part of a node.
  sources = node: unique (concatMap (origin: origin.files) node.origins);
in
{ inherit merge conflicts withoutConflicts fail within plain described isDerivation isSet present sources; }
